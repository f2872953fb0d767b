"""Images: segmentation, contrast, attention, and objects to be found."""

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from tests.field.digits import digits
from tests.field.harness import Code


class Discs(Dataset):
    """Pictures with a disc, and where it is, as a mapping."""

    def __init__(self, count):
        self.spots = torch.randint(3, 13, (count, 2))
        self.noise = 0.2 * torch.randn(count, 3, 16, 16)

    def __len__(self):
        return len(self.spots)

    def __getitem__(self, index):
        y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
        mask = ((y - self.spots[index, 0]) ** 2 + (x - self.spots[index, 1]) ** 2 < 9).long()
        return {"image": self.noise[index] + mask, "mask": mask}


def double_conv(inputs, outputs):
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc, self.down = double_conv(3, 4), double_conv(4, 8)
        self.up, self.merge, self.outc = nn.ConvTranspose2d(8, 4, 2, stride=2), double_conv(8, 4), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        left = F.relu(self.inc(x))
        bottom = F.relu(self.down(F.max_pool2d(left, 2)))
        return self.outc(F.relu(self.merge(torch.cat([left, self.up(bottom)], dim=1))))


def segment(model, batch):
    images, true_masks = batch["image"], batch["mask"]
    return model(images).squeeze(1), true_masks.float()


def dice_loss(input, target, epsilon=1e-6):
    both = 2 * (input * target).sum(dim=(-1, -2))
    sets = input.sum(dim=(-1, -2)) + target.sum(dim=(-1, -2))
    return 1 - ((both + epsilon) / (sets + epsilon)).mean()


def bce_and_dice(output, target):
    return F.binary_cross_entropy_with_logits(output, target) + dice_loss(F.sigmoid(output), target)


class UNetCode(Code):
    """milesial/Pytorch-UNet: samples as mappings, a part set aside, RMSprop, cross entropy and dice, clipping."""

    unwritten = "ReduceLROnPlateau: one of torch's schedulers"

    def make(self):
        train, val = random_split(Discs(60), [48, 12], generator=torch.Generator().manual_seed(0))
        loader_args = {"batch_size": 5}
        self.train = DataLoader(train, shuffle=True, **loader_args)
        self.val = DataLoader(val, shuffle=False, drop_last=True, **loader_args)
        self.model = UNet().to(memory_format=torch.channels_last)
        parameters = self.model.parameters()
        self.optimizer = optim.RMSprop(parameters, lr=1e-3, weight_decay=1e-8, momentum=0.9, foreach=True)
        self.scheduler = optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, "min", patience=0)

    def loop(self):
        criterion = nn.BCEWithLogitsLoss()
        for _epoch in range(4):
            self.model.train()
            for batch in self.train:
                images, true_masks = batch["image"], batch["mask"]
                masks_pred = self.model(images)
                loss = criterion(masks_pred.squeeze(1), true_masks.float())
                loss = loss + dice_loss(F.sigmoid(masks_pred.squeeze(1)), true_masks.float())
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                yield loss
            self.model.eval()
            with torch.no_grad():
                losses = [bce_and_dice(*segment(self.model, batch)) for batch in self.val]
            self.val_losses.append(float(sum(losses)) / len(losses))
            self.scheduler.step(self.val_losses[-1])

    def run(self):
        settings = {"loss": bce_and_dice, "forward": segment, "optimizer": self.optimizer, "channels_last": True}
        return self.given(schedule=self.scheduler, clip_norm=1.0, epochs=4, **settings)


class TwoViews(Dataset):
    """Each image twice, altered by chance, and its kind."""

    def __init__(self, images, kinds):
        self.images, self.kinds = images, kinds

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return [self.view(self.images[index]) for _view in range(2)], self.kinds[index]

    def view(self, image):
        if torch.rand(1) < 0.5:
            image = image.flip(2)
        return image.roll(int(torch.randint(-2, 3, ())), 2) + 0.1 * torch.randn_like(image)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        self.projection = nn.Sequential(nn.Linear(200, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x):
        return self.projection(self.backbone(x))


def info_nce(features, _labels=None, temperature=0.5):
    """Return the loss of telling each view's other view among all others of the batch."""
    count = len(features) // 2
    labels = torch.cat([torch.arange(count)] * 2)
    labels = labels[:, None] == labels[None, :]
    features = F.normalize(features, dim=1)
    similarity = features @ features.T
    others = ~torch.eye(len(labels), dtype=torch.bool)
    labels, similarity = labels[others].view(len(labels), -1), similarity[others].view(len(labels), -1)
    positives = similarity[labels].view(len(labels), -1)
    negatives = similarity[~labels].view(len(labels), -1)
    logits = torch.cat([positives, negatives], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def embed(model, batch):
    images, labels = batch
    return model(torch.cat(images, dim=0)), labels


class SimClr(Code):
    """sthalles/SimCLR: views drawn by the Dataset, batches dropped that are not full, a loss over pairs of samples."""

    unwritten = "CosineAnnealingLR: one of torch's schedulers"

    def make(self):
        self.train = DataLoader(TwoViews(*digits(70)), batch_size=16, shuffle=True, drop_last=True)
        self.model = Encoder()
        self.optimizer = optim.Adam(self.model.parameters(), 3e-3, weight_decay=1e-4)
        steps = len(self.train)
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=steps, eta_min=0, last_epoch=-1)

    def loop(self):
        for _epoch in range(3):
            for images, _labels in self.train:
                loss = info_nce(self.model(torch.cat(images, dim=0)))
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                yield loss
            self.scheduler.step()

    def run(self):
        settings = {"optimizer": self.optimizer, "schedule": self.scheduler, "epochs": 3}
        return self.given(loss=info_nce, forward=embed, **settings)


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 10, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 10))

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class ViTCode(Code):
    """lucidrains/vit-pytorch on small images: AdamW, smoothed labels, dropout in attention, a test of every epoch."""

    def make(self):
        self.train = DataLoader(TensorDataset(*digits(96)), batch_size=16, shuffle=True, drop_last=True)
        self.val = DataLoader(TensorDataset(*digits(32)), batch_size=12)
        self.model = ViT()
        self.optimizer = optim.AdamW(self.model.parameters(), lr=3e-3, weight_decay=0.05, betas=(0.9, 0.98))
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def loop(self):
        for _epoch in range(2):
            self.model.train()
            for images, labels in self.train:
                loss = self.criterion(self.model(images), labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                yield loss
            self.model.eval()
            with torch.no_grad():
                scored = [(self.criterion(self.model(x), y) * len(y)).item() for x, y in self.val]
            self.val_losses.append(sum(scored) / 32)

    def run(self):
        return self.given(loss=self.criterion, optimizer=self.optimizer, metrics=["accuracy"], epochs=2)


class Objects(Dataset):
    """Pictures and the boxes in them, from one to three of them."""

    def __init__(self, count):
        self.images = torch.rand(count, 3, 12, 12)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        number = index % 3 + 1
        corner = torch.arange(number)[:, None].repeat(1, 2) + 1.0
        boxes = torch.cat([corner, corner + 4.0 + index % 4], dim=1)
        return self.images[index], {"boxes": boxes, "labels": torch.arange(number) % 2 + 1, "image_id": index}


def collate_fn(batch):
    return tuple(zip(*batch, strict=True))


class Detector(nn.Module):
    """Takes lists of images and of targets; returns its losses in training, and detections otherwise."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.boxes, self.scores = nn.Linear(8, 12), nn.Linear(8, 9)

    def forward(self, images, targets=None):
        features = self.backbone(torch.stack(images))
        boxes, scores = self.boxes(features).view(-1, 3, 4), self.scores(features).view(-1, 3, 3)
        if not self.training:
            return [{"boxes": b, "scores": s} for b, s in zip(boxes, scores.softmax(2), strict=True)]
        counts = [len(target["labels"]) for target in targets]
        boxes = torch.cat([found[:count] for found, count in zip(boxes, counts, strict=True)])
        scores = torch.cat([found[:count] for found, count in zip(scores, counts, strict=True)])
        return {
            "loss_classifier": F.cross_entropy(scores, torch.cat([target["labels"] for target in targets])),
            "loss_box_reg": F.smooth_l1_loss(boxes, torch.cat([target["boxes"] for target in targets])),
        }


def detect(model, batch):
    images, targets = batch
    return model(list(images), [dict(target) for target in targets]), targets


def sum_of_losses(loss_dict, _targets):
    return sum(loss for loss in loss_dict.values())


class Detection(Code):
    """torchvision's references for detection: lists of images of targets, and a model that returns its losses."""

    def make(self):
        dataset = Objects(36)
        sampler = torch.utils.data.RandomSampler(dataset)
        batches = torch.utils.data.BatchSampler(sampler, 4, drop_last=True)
        self.train = DataLoader(dataset, batch_sampler=batches, collate_fn=collate_fn)
        self.model = Detector()
        params = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = optim.SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4)

    def loop(self):
        for _epoch in range(2):
            self.model.train()
            for images, targets in self.train:
                images = [image.to("cpu") for image in images]
                loss_dict = self.model(images, [dict(target) for target in targets])
                losses = sum(loss for loss in loss_dict.values())
                self.optimizer.zero_grad()
                losses.backward()
                self.optimizer.step()
                yield losses

    def run(self):
        return self.given(loss=sum_of_losses, forward=detect, optimizer=self.optimizer, epochs=2)
