"""Models and transforms of torchvision and timm."""

# isort: off
from tests.field.libraries import operators  # noqa: F401  before torchvision

# isort: on
import timm
import timm.optim
import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2

from tests.field.digits import digits
from tests.field.harness import Code


class Torchvision(Code):
    """pytorch/examples, imagenet: a dataset with random transforms, a model of torchvision's, SGD, a validation."""

    def make(self):
        normalize = v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        alter = [v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ColorJitter(0.2, 0.2)]
        to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), normalize]
        sizes = {"image_size": (3, 40, 40), "num_classes": 4}
        train_dataset = datasets.FakeData(24, transform=v2.Compose(alter + to_tensor), **sizes)
        val_dataset = datasets.FakeData(8, transform=v2.Compose([v2.CenterCrop(32), *to_tensor]), **sizes)
        self.train = DataLoader(train_dataset, batch_size=8, shuffle=True, num_workers=0, pin_memory=False)
        self.val = DataLoader(val_dataset, batch_size=8, shuffle=False)
        self.model = models.mobilenet_v3_small(num_classes=4)
        self.optimizer = optim.SGD(self.model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
        self.criterion = nn.CrossEntropyLoss()

    def loop(self):
        for _epoch in range(2):
            self.model.train()
            for images, target in self.train:
                loss = self.criterion(self.model(images), target)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                yield loss
            self.model.eval()
            with torch.no_grad():
                self.val_losses += [self.criterion(self.model(images), target).item() for images, target in self.val]

    def run(self):
        return self.given(loss=self.criterion, optimizer=self.optimizer, metrics=["accuracy"], epochs=2)


mixup_fn = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=10)


def mixed(model, batch):
    x, y = mixup_fn(*batch)
    return model(x), y


class Timm(Code):
    """timm's train.py: mixup by numpy's generator, soft targets, its optimizer's groups, drop path, clipping."""

    def make(self):
        images, kinds = digits(48, 32)
        dataset = torch.utils.data.TensorDataset(images.expand(-1, 3, -1, -1), kinds)
        self.train = DataLoader(dataset, batch_size=16, shuffle=True, drop_last=True)
        self.model = timm.create_model("test_vit", num_classes=10, img_size=32, drop_path_rate=0.1)
        self.optimizer = timm.optim.create_optimizer_v2(self.model, opt="adamw", lr=1e-3, weight_decay=0.05)

    def loop(self):
        train_loss_fn = SoftTargetCrossEntropy()
        for _epoch in range(3):
            self.model.train()
            for x, y in self.train:
                x, y = mixup_fn(x, y)
                loss = train_loss_fn(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                yield loss

    def run(self):
        settings = {"loss": SoftTargetCrossEntropy(), "forward": mixed, "optimizer": self.optimizer}
        return self.given(clip_norm=1.0, epochs=3, **settings)
