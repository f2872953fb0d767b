BEGIN TRANSACTION;
CREATE TABLE history (
            run TEXT NOT NULL,
            name TEXT NOT NULL,
            chunk INTEGER NOT NULL,
            steps BLOB NOT NULL,
            numbers BLOB NOT NULL,
            PRIMARY KEY (run, name, chunk)
        );
INSERT INTO "history" VALUES('abcd1234','_time',0,X'00000000000000000200000000000000030000000000000004000000000000000500000000000000060000000000000007000000000000000800000000000000',X'0000B081123E903F0000207BED34923F0000384EA20F943F0000380FE05A953F0000D0A1A002963F0000B06FCBA0963F0000C8D33B6D973F000098B90DBE983F');
INSERT INTO "history" VALUES('abcd1234','mae',0,X'030000000000000006000000000000000800000000000000',X'898888C866E2C73F9A9999593A56C23FCDCCCC20CFF9C03F');
INSERT INTO "history" VALUES('abcd1234','val_mae',0,X'030000000000000006000000000000000800000000000000',X'00000020D80EC33FEFEEEECAEB19C13F66666686939BC03F');
INSERT INTO "history" VALUES('abcd1234','_epoch',0,X'00000000000000000200000000000000030000000000000003000000000000000400000000000000050000000000000006000000000000000600000000000000070000000000000008000000000000000800000000000000',X'555555555555D53F000000000000F03F000000000000F03F555555555555F53F565555555555FD3F000000000000004000000000000000400000000000000440000000000000084000000000000008400000000000000C40');
INSERT INTO "history" VALUES('abcd1234','val_loss',0,X'030000000000000006000000000000000800000000000000',X'0000002089E79A3F00000040B444963F000000206E51953F');
INSERT INTO "history" VALUES('abcd1234','loss',0,X'000000000000000001000000000000000200000000000000030000000000000004000000000000000500000000000000060000000000000007000000000000000800000000000000',X'00000000A1E1A23F00000060AB24A83F000000C0EAD1A53F000000A0EE199B3F000000A0AAD0973F000000C0A2A0983F000000E09074973F000000C08291943F000000E0C047963F');
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
INSERT INTO "journal" VALUES('abcd1234',0,0,'step','null','null','code',1.79531715940005898472e+09,'event');
INSERT INTO "journal" VALUES('abcd1234',1,4,'pause','null','null','code',1.79531715944018912317e+09,'event');
INSERT INTO "journal" VALUES('abcd1234',2,4,'lr','0.1','0.05','code',1.79531715944136214258e+09,'change');
INSERT INTO "journal" VALUES('abcd1234',3,4,'batch_size','20','30','code',1.79531715944170689588e+09,'change');
INSERT INTO "journal" VALUES('abcd1234',4,4,'step','null','null','code',1.79531715944184160236e+09,'event');
INSERT INTO "journal" VALUES('abcd1234',5,9,'pause','null','null','code',1.79531715944647717476e+09,'event');
INSERT INTO "journal" VALUES('abcd1234',6,9,'rewind','9','7','code',1.79531715944822239873e+09,'event');
INSERT INTO "journal" VALUES('abcd1234',7,7,'momentum','0.0','0.5','code',1.79531715945004153255e+09,'change');
INSERT INTO "journal" VALUES('abcd1234',8,7,'step','null','null','code',1795317159.45022,'event');
INSERT INTO "journal" VALUES('abcd1234',9,9,'pause','null','null','code',1.79531715945257616044e+09,'event');
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
INSERT INTO "runs" VALUES('abcd1234','version 1',NULL,1.79531715765648078918e+09,'0.1.0','{"seed": 0, "device": "cpu", "torch": "2.13.0+cpu", "threads": 1, "initial": {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "momentum": 0.0, "nesterov": false, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "l1": 0.0, "dropout": 0.0, "batch_size": 20, "epochs": 1000000, "early_stopping": false, "patience": 5, "min_delta": 0.0, "loss": "mse", "delta": 1.0, "micro_batch": 0, "recover": true}, "given": ["batch_size", "epochs", "lr"], "loss": ["mse", true], "optimizer": ["sgd", true], "metrics": {"mae": "mae"}, "forward": null, "val_fraction": null, "model": {"weight": "1 x 1 float32", "bias": "1 float32"}, "data": {"train": {"samples": 60, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 2290316744}, "val": {"samples": 60, "part 1": "1 float32", "part 2": "1 float32", "values (checksum)": 2290316744}}}','c1b287401659dd06','paused','',9,3,2.08184439688920974731e-02,10);
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
INSERT INTO "snapshots" VALUES('abcd1234','best',8,10,'snapshots/abcd1234/best-8-0489bae9.safetensors',1248);
INSERT INTO "snapshots" VALUES('abcd1234','initial',0,0,'snapshots/abcd1234/initial-0-7b8b9ec7.safetensors',792);
INSERT INTO "snapshots" VALUES('abcd1234','latest',8,10,'snapshots/abcd1234/best-8-0489bae9.safetensors',1248);
COMMIT;
