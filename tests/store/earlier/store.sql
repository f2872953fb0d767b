BEGIN TRANSACTION;
CREATE TABLE history (
            run TEXT NOT NULL,
            name TEXT NOT NULL,
            chunk INTEGER NOT NULL,
            steps BLOB NOT NULL,
            numbers BLOB NOT NULL,
            PRIMARY KEY (run, name, chunk)
        );
INSERT INTO "history" VALUES('a0000001','mae',0,X'0300000000000000060000000000000008000000000000000A000000000000000C00000000000000',X'111111C93ADECA3F111111497C63C93F444444E49E7AC93F333333AB2111C93F7777771796C6C83F');
INSERT INTO "history" VALUES('a0000001','_time',0,X'000000000000000002000000000000000300000000000000040000000000000005000000000000000600000000000000070000000000000009000000000000000A000000000000000B000000000000000C00000000000000',X'00002C796864993F0000816BC167B13F00005B212B46B63F000086DCA292C03F0080975F4F39C43F00801233DF67C43F0000819C5B21CB3F0080FFDAB515CE3F0080A332EEDBD13F00C0A297E40FD23F008093819935D23F');
INSERT INTO "history" VALUES('a0000001','loss',0,X'00000000000000000100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000080000000000000009000000000000000A000000000000000B000000000000000C00000000000000',X'000000201137C13F000000807B00A63F000000E086BBA53F000000C00205A83F000000C01A01B43F000000007A40AC3F000000408387AF3F00000000B242B03F000000C099FEAB3F0000006084B5B03F00000080C1BCAC3F000000C08E81AE3F000000E0BFFAA63F');
INSERT INTO "history" VALUES('a0000001','val_mae',0,X'0300000000000000060000000000000008000000000000000A000000000000000C00000000000000',X'ABAAAADACD8AC93F666666DE3EDFC83FABAAAA8AA4C1C83FBCBBBB130DACC83F000000284494C83F');
INSERT INTO "history" VALUES('a0000001','_epoch',0,X'0000000000000000020000000000000003000000000000000300000000000000040000000000000005000000000000000600000000000000060000000000000007000000000000000700000000000000080000000000000009000000000000000A000000000000000A000000000000000B000000000000000C000000000000000C00000000000000',X'555555555555D53F000000000000F03F000000000000F03F555555555555F53F565555555555FD3F000000000000004000000000000000400000000000000440000000000000084000000000000008400000000000000840000000000000104000000000000010400000000000001240000000000000144000000000000014400000000000001640');
INSERT INTO "history" VALUES('a0000001','val_loss',0,X'0300000000000000060000000000000008000000000000000A000000000000000C00000000000000',X'000000E0B85DB03F000000400818AE3F00000080CD6DAD3F000000C01DFBAC3F000000A0F587AC3F');
INSERT INTO "history" VALUES('a0000002','_time',0,X'00000000000000000200000000000000040000000000000005000000000000000700000000000000',X'0000A05C21E6613F000052A3169EAC3F000002F83700AE3F0000D3678B14B23F0080A9ACA333C03F');
INSERT INTO "history" VALUES('a0000002','_epoch',0,X'0000000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000',X'555555555555D53F000000000000F03F000000000000F03FAAAAAAAAAAAAFA3F000000000000004000000000000000405555555555550540');
INSERT INTO "history" VALUES('a0000002','loss',0,X'00000000000000000100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000',X'000000A05648C13F000000A0AAEEA63F000000009990A73F000000001AABA93F0000000036B0B63F000000007574B03F000000407227B43F00000060056CA43F');
INSERT INTO "history" VALUES('a0000003','_time',0,X'00000000000000000200000000000000040000000000000005000000000000000700000000000000',X'00008031AA655B3F000000A9CEAF653F000000ABFE366B3F000088438744823F0000C8C8A01A843F');
INSERT INTO "history" VALUES('a0000003','_epoch',0,X'0000000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000',X'555555555555D53F000000000000F03F000000000000F03FAAAAAAAAAAAAFA3F000000000000004000000000000000405555555555550540');
INSERT INTO "history" VALUES('a0000003','loss',0,X'00000000000000000100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000',X'000000E0DD73B83F000000004731BF3F000000E0D9ACC53F000000807907C23F000000C0951DBF3F000000A04AD5BE3F00000040B12DBD3F000000602604BA3F');
INSERT INTO "history" VALUES('a0000004','_time',0,X'0000000000000000020000000000000005000000000000000700000000000000',X'000040A7213D543F0000C81FFA58833F0000D0CD4D87853F000090A01286863F');
INSERT INTO "history" VALUES('a0000004','_epoch',0,X'000000000000000002000000000000000300000000000000050000000000000006000000000000000700000000000000',X'ABAAAAAAAAAADA3F000000000000F03F000000000000F03F00000000000000400000000000000040ABAAAAAAAAAA0640');
INSERT INTO "history" VALUES('a0000004','loss',0,X'00000000000000000100000000000000020000000000000003000000000000000400000000000000050000000000000006000000000000000700000000000000',X'000000A00083B63F00000040C178C23F000000408B0FC83F000000405E1FC13F00000040D521BE3F0000002002C8C03F000000E0BE0BBF3F000000E07149BF3F');
INSERT INTO "history" VALUES('a0000005','_time',0,X'000000000000000002000000000000000500000000000000',X'000000E0E64D583F000054CBC216983F000058BC8650993F');
INSERT INTO "history" VALUES('a0000005','val_loss',0,X'03000000000000000600000000000000',X'00000020CBD2BF3F000000E07D81BF3F');
INSERT INTO "history" VALUES('a0000005','_epoch',0,X'00000000000000000200000000000000030000000000000005000000000000000600000000000000',X'1CC7711CC771DC3F000000000000F03F000000000000F03F00000000000000400000000000000040');
INSERT INTO "history" VALUES('a0000005','loss',0,X'000000000000000001000000000000000200000000000000030000000000000004000000000000000500000000000000',X'000000E05C51C13F00000000B80EBE3F000000401299C33F000000E05648B63F000000A087FDC43F000000C0BB1EC23F');
CREATE TABLE journal (
            run TEXT NOT NULL,
            number INTEGER NOT NULL,
            step INTEGER NOT NULL,
            name TEXT NOT NULL,
            old TEXT NOT NULL,
            new TEXT NOT NULL,
            source TEXT NOT NULL,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            PRIMARY KEY (run, number)
        ) WITHOUT ROWID;
INSERT INTO "journal" VALUES('a0000001',0,0,'dropout','0.1','0.3','code',1.79592102968820619586e+09,'change');
INSERT INTO "journal" VALUES('a0000001',1,0,'step','null','null','code',1.79592104575467896455e+09,'event');
INSERT INTO "journal" VALUES('a0000001',2,4,'pause','null','null','code',1.79592104597661209107e+09,'event');
INSERT INTO "journal" VALUES('a0000001',3,4,'batch_size','20','30','code',1.79592104598527336125e+09,'change');
INSERT INTO "journal" VALUES('a0000001',4,4,'optimizer','"adam"','"sgd"','code',1.79592104598613500595e+09,'change');
INSERT INTO "journal" VALUES('a0000001',5,4,'carried','null','"dropped: running mean of gradients, running mean of squared gradients, count of steps"','code',1.79592104598630070686e+09,'event');
INSERT INTO "journal" VALUES('a0000001',6,4,'momentum','0.0','0.5','code',1.79592104598661589627e+09,'change');
INSERT INTO "journal" VALUES('a0000001',7,4,'step','null','null','code',1.79592104598676323892e+09,'event');
INSERT INTO "journal" VALUES('a0000001',8,9,'pause','null','null','code',1.79592104605906629569e+09,'event');
INSERT INTO "journal" VALUES('a0000001',9,9,'rewind','9','7','code',1.79592104607699036599e+09,'event');
INSERT INTO "journal" VALUES('a0000001',10,7,'lr','0.01','1000000.0','code',1.79592104609834313398e+09,'change');
INSERT INTO "journal" VALUES('a0000001',11,7,'step','null','null','code',1795921046.0985,'event');
INSERT INTO "journal" VALUES('a0000001',12,10,'diverged','null','"loss 5.13843e+19 in step 8"','guard',1.79592104622217750556e+09,'event');
INSERT INTO "journal" VALUES('a0000001',13,10,'rewind','10','7','guard',1.79592104624775719644e+09,'event');
INSERT INTO "journal" VALUES('a0000001',14,7,'lr','0.01','0.005','guard',1.79592104624851560596e+09,'change');
INSERT INTO "journal" VALUES('a0000001',15,10,'pause','null','null','code',1.79592104634098100662e+09,'event');
INSERT INTO "journal" VALUES('a0000001',16,10,'weight_decay','0.0','0.01','code',1.79592104637218499176e+09,'change');
INSERT INTO "journal" VALUES('a0000001',17,10,'step','null','null','code',1.79592104637257385249e+09,'event');
INSERT INTO "journal" VALUES('a0000001',18,13,'pause','null','null','code',1.79592104639091682438e+09,'event');
INSERT INTO "journal" VALUES('a0000002',0,0,'step','null','null','code',1.79592104646646571163e+09,'event');
INSERT INTO "journal" VALUES('a0000002',1,5,'pause','null','null','code',1.79592104656649398809e+09,'event');
INSERT INTO "journal" VALUES('a0000002',2,5,'lr','0.01','0.02','code',1.7959210465727140903e+09,'change');
INSERT INTO "journal" VALUES('a0000002',3,5,'step','null','null','code',1.7959210465729937553e+09,'event');
INSERT INTO "journal" VALUES('a0000002',4,8,'pause','null','null','code',1.7959210466364138127e+09,'event');
INSERT INTO "journal" VALUES('a0000003',0,0,'step','null','null','code',1.79592104665325713154e+09,'event');
INSERT INTO "journal" VALUES('a0000003',1,5,'pause','null','null','code',1.79592104667526149749e+09,'event');
INSERT INTO "journal" VALUES('a0000003',2,5,'lr','0.001','0.02','code',1.7959210466808412075e+09,'change');
INSERT INTO "journal" VALUES('a0000003',3,5,'step','null','null','code',1.79592104668104577064e+09,'event');
INSERT INTO "journal" VALUES('a0000003',4,8,'pause','null','null','code',1.79592104668317151068e+09,'event');
INSERT INTO "journal" VALUES('a0000004',0,0,'step','null','null','code',1.79592104668723845481e+09,'event');
INSERT INTO "journal" VALUES('a0000004',1,8,'pause','null','null','code',1.79592104670084214213e+09,'event');
INSERT INTO "journal" VALUES('a0000005',0,0,'start','null','null','code',1.79592105751593756682e+09,'event');
INSERT INTO "journal" VALUES('a0000005',1,6,'finished','null','"all 2 epochs done"','run',1.79592105755400729179e+09,'event');
CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            parent TEXT,
            created REAL NOT NULL,
            nbopt TEXT NOT NULL,
            settings TEXT NOT NULL,
            owner TEXT,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            step INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            best REAL,
            entries INTEGER NOT NULL
        ) WITHOUT ROWID;
INSERT INTO "runs" VALUES('a0000001','steered',NULL,1.7959210296822395325e+09,'0.1.0','{"seed": 0, "device": "cpu", "torch": "2.13.0+cpu", "threads": 1, "initial": {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "momentum": 0.0, "nesterov": false, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "lr_decay": 0.0, "max_iter": 5, "history_size": 10, "line_search": true, "damping": 0.01, "cg_iterations": 20, "dropout": 0.1, "batch_size": 20, "epochs": 100, "early_stopping": false, "patience": 5, "min_delta": 0.0, "loss": "mse", "delta": 1.0, "impute": "none", "outliers": 0.0, "scaling": "none", "range_low": 0.0, "range_high": 1.0, "rotate": 0.0, "zoom": 0.0, "crop": 0.0, "flip": 0.0, "mixup": 0.0, "input_noise": 0.0, "l1": 0.0, "clip_value": 0.0, "clip_norm": 0.0, "warmup": 0.0, "schedule": "constant", "step_epochs": 5.0, "step_factor": 0.5, "epoch_decay": 0.95, "final_share": 0.0, "peak_at": 0.3, "start_share": 0.04, "plateau_patience": 5, "plateau_factor": 0.5, "bold_up": 1.05, "bold_down": 0.5, "hyper_rate": 0.0001, "max_norm": 0.0, "precision": "float32", "channels_last": false, "micro_batch": 0, "initialization": "as given", "initial_gain": 1.0, "recover": true, "tier": "auto"}, "given": ["batch_size", "epochs", "lr"], "loss": ["mse", true], "optimizer": ["adam", true], "metrics": {"mae": "mae"}, "forward": null, "val_fraction": null, "model": {"0.weight": "3 x 1 float32", "0.bias": "3 float32", "3.weight": "1 x 3 float32", "3.bias": "1 float32"}, "data": {"train": {"samples": 60, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 2290316744}, "val": {"samples": 60, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 2290316744}}}',NULL,'paused','',13,5,5.57247884571552276611e-02,19);
INSERT INTO "runs" VALUES('a0000002','groups',NULL,1.79592104646377420423e+09,'0.1.0','{"seed": 0, "device": "cpu", "torch": "2.13.0+cpu", "threads": 1, "initial": {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "momentum": 0.0, "nesterov": false, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "lr_decay": 0.0, "max_iter": 5, "history_size": 10, "line_search": true, "damping": 0.01, "cg_iterations": 20, "dropout": 0.1, "batch_size": 20, "epochs": 100, "early_stopping": false, "patience": 5, "min_delta": 0.0, "loss": "mse", "delta": 1.0, "impute": "none", "outliers": 0.0, "scaling": "none", "range_low": 0.0, "range_high": 1.0, "rotate": 0.0, "zoom": 0.0, "crop": 0.0, "flip": 0.0, "mixup": 0.0, "input_noise": 0.0, "l1": 0.0, "clip_value": 0.0, "clip_norm": 0.0, "warmup": 0.0, "schedule": "constant", "step_epochs": 5.0, "step_factor": 0.5, "epoch_decay": 0.95, "final_share": 0.0, "peak_at": 0.3, "start_share": 0.04, "plateau_patience": 5, "plateau_factor": 0.5, "bold_up": 1.05, "bold_down": 0.5, "hyper_rate": 0.0001, "max_norm": 0.0, "precision": "float32", "channels_last": false, "micro_batch": 0, "initialization": "as given", "initial_gain": 1.0, "recover": true, "tier": "auto"}, "given": ["batch_size", "epochs"], "loss": ["mse", true], "optimizer": ["adam", false], "metrics": {}, "forward": null, "val_fraction": null, "model": {"0.weight": "3 x 1 float32", "0.bias": "3 float32", "3.weight": "1 x 3 float32", "3.bias": "1 float32"}, "data": {"train": {"samples": 60, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 2290316744}, "val": null}}',NULL,'paused','',8,2,NULL,5);
INSERT INTO "runs" VALUES('a0000003','booleans',NULL,1.79592104663875269891e+09,'0.1.0','{"seed": 0, "device": "cpu", "torch": "2.13.0+cpu", "threads": 1, "initial": {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0, "momentum": 0.0, "nesterov": false, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "lr_decay": 0.0, "max_iter": 5, "history_size": 10, "line_search": true, "damping": 0.01, "cg_iterations": 20, "dropout": 0.0, "batch_size": 20, "epochs": 100, "early_stopping": false, "patience": 5, "min_delta": 0.0, "loss": "mse", "delta": 1.0, "impute": "none", "outliers": 0.0, "scaling": "none", "range_low": 0.0, "range_high": 1.0, "rotate": 0.0, "zoom": 0.0, "crop": 0.0, "flip": 0.0, "mixup": 0.0, "input_noise": 0.0, "l1": 0.0, "clip_value": 0.0, "clip_norm": 0.0, "warmup": 0.0, "schedule": "constant", "step_epochs": 5.0, "step_factor": 0.5, "epoch_decay": 0.95, "final_share": 0.0, "peak_at": 0.3, "start_share": 0.04, "plateau_patience": 5, "plateau_factor": 0.5, "bold_up": 1.05, "bold_down": 0.5, "hyper_rate": 0.0001, "max_norm": 0.0, "precision": "float32", "channels_last": false, "micro_batch": 0, "initialization": "as given", "initial_gain": 1.0, "recover": true, "tier": "auto"}, "given": ["batch_size", "epochs"], "loss": ["mse", true], "optimizer": ["adam", true], "metrics": {}, "forward": "forward", "val_fraction": null, "model": {"inner.weight": "1 x 1 float32", "inner.bias": "1 float32"}, "data": {"train": {"samples": 60, "part 1": "1 float32", "part 2": "1 int64", "part 3": "1 float32", "values (checksum)": 2826166138}, "val": null}}',NULL,'paused','',8,2,NULL,5);
INSERT INTO "runs" VALUES('a0000004','drop_last',NULL,1.79592104668540930752e+09,'0.1.0','{"seed": 0, "device": "cpu", "torch": "2.13.0+cpu", "threads": 1, "initial": {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0, "momentum": 0.0, "nesterov": false, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "lr_decay": 0.0, "max_iter": 5, "history_size": 10, "line_search": true, "damping": 0.01, "cg_iterations": 20, "dropout": 0.0, "batch_size": 25, "epochs": 100, "early_stopping": false, "patience": 5, "min_delta": 0.0, "loss": "mse", "delta": 1.0, "impute": "none", "outliers": 0.0, "scaling": "none", "range_low": 0.0, "range_high": 1.0, "rotate": 0.0, "zoom": 0.0, "crop": 0.0, "flip": 0.0, "mixup": 0.0, "input_noise": 0.0, "l1": 0.0, "clip_value": 0.0, "clip_norm": 0.0, "warmup": 0.0, "schedule": "constant", "step_epochs": 5.0, "step_factor": 0.5, "epoch_decay": 0.95, "final_share": 0.0, "peak_at": 0.3, "start_share": 0.04, "plateau_patience": 5, "plateau_factor": 0.5, "bold_up": 1.05, "bold_down": 0.5, "hyper_rate": 0.0001, "max_norm": 0.0, "precision": "float32", "channels_last": false, "micro_batch": 0, "initialization": "as given", "initial_gain": 1.0, "recover": true, "tier": "auto"}, "given": ["epochs"], "loss": ["mse", true], "optimizer": ["adam", true], "metrics": {}, "forward": null, "val_fraction": null, "model": {"weight": "1 x 1 float32", "bias": "1 float32"}, "data": {"train": {"samples": 60, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 2290316744}, "val": null}}',NULL,'paused','',8,2,NULL,2);
INSERT INTO "runs" VALUES('a0000005','finished',NULL,1.79592104670318126677e+09,'0.1.0','{"seed": 0, "device": "cpu", "torch": "2.13.0+cpu", "threads": 1, "initial": {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0, "momentum": 0.0, "nesterov": false, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "lr_decay": 0.0, "max_iter": 5, "history_size": 10, "line_search": true, "damping": 0.01, "cg_iterations": 20, "dropout": 0.0, "batch_size": 20, "epochs": 2, "early_stopping": false, "patience": 5, "min_delta": 0.0, "loss": "mse", "delta": 1.0, "impute": "none", "outliers": 0.0, "scaling": "none", "range_low": 0.0, "range_high": 1.0, "rotate": 0.0, "zoom": 0.0, "crop": 0.0, "flip": 0.0, "mixup": 0.0, "input_noise": 0.0, "l1": 0.0, "clip_value": 0.0, "clip_norm": 0.0, "warmup": 0.0, "schedule": "constant", "step_epochs": 5.0, "step_factor": 0.5, "epoch_decay": 0.95, "final_share": 0.0, "peak_at": 0.3, "start_share": 0.04, "plateau_patience": 5, "plateau_factor": 0.5, "bold_up": 1.05, "bold_down": 0.5, "hyper_rate": 0.0001, "max_norm": 0.0, "precision": "float32", "channels_last": false, "micro_batch": 0, "initialization": "as given", "initial_gain": 1.0, "recover": true, "tier": "auto"}, "given": ["batch_size", "epochs"], "loss": ["mse", true], "optimizer": ["adam", true], "metrics": {}, "forward": null, "val_fraction": 0.25, "model": {"weight": "1 x 1 float32", "bias": "1 float32"}, "data": {"train": {"samples": 45, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 3590993645}, "val": {"samples": 15, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 3775446423}}}',NULL,'finished','all 2 epochs done',6,2,1.23069636523723602294e-01,2);
CREATE TABLE schema (version INTEGER NOT NULL);
INSERT INTO "schema" VALUES(1);
CREATE TABLE snapshots (
            run TEXT NOT NULL,
            kind TEXT NOT NULL,
            step INTEGER NOT NULL,
            entries INTEGER NOT NULL,
            file TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            PRIMARY KEY (run, kind)
        ) WITHOUT ROWID;
INSERT INTO "snapshots" VALUES('a0000001','best',12,19,'snapshots/a0000001/best-12-9561420a.safetensors',2832);
INSERT INTO "snapshots" VALUES('a0000001','initial',0,1,'snapshots/a0000001/initial-0-51b1df62.safetensors',1904);
INSERT INTO "snapshots" VALUES('a0000001','latest',12,19,'snapshots/a0000001/best-12-9561420a.safetensors',2832);
INSERT INTO "snapshots" VALUES('a0000002','initial',0,0,'snapshots/a0000002/initial-0-c74c2de0.safetensors',1904);
INSERT INTO "snapshots" VALUES('a0000002','latest',5,5,'snapshots/a0000002/latest-5-012f511b.safetensors',3208);
INSERT INTO "snapshots" VALUES('a0000003','initial',0,0,'snapshots/a0000003/initial-0-f65c8f7d.safetensors',1712);
INSERT INTO "snapshots" VALUES('a0000003','latest',5,5,'snapshots/a0000003/latest-5-dfbc365e.safetensors',2344);
INSERT INTO "snapshots" VALUES('a0000004','initial',0,0,'snapshots/a0000004/initial-0-0011c3ce.safetensors',1688);
INSERT INTO "snapshots" VALUES('a0000004','latest',1,2,'snapshots/a0000004/latest-1-bf1683c6.safetensors',2320);
INSERT INTO "snapshots" VALUES('a0000005','best',6,2,'snapshots/a0000005/best-6-ad459140.safetensors',2504);
INSERT INTO "snapshots" VALUES('a0000005','initial',0,0,'snapshots/a0000005/initial-0-68ec535e.safetensors',1680);
INSERT INTO "snapshots" VALUES('a0000005','latest',6,2,'snapshots/a0000005/best-6-ad459140.safetensors',2504);
COMMIT;
