"""Images of one kind or another, as in the examples of PyTorch's own repository."""

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.field.harness import Code


def digits(count, size=12):
    """Return blurred bars of ten kinds, (n, 1, size, size), and their kinds."""
    kinds = torch.arange(count) % 10
    images = 0.3 * torch.randn(count, 1, size, size)
    for image, kind in zip(images, kinds.tolist(), strict=True):
        image[0, kind, :] += 1.0
        image[0, :, size - 1 - kind] += 1.0
    return images, kinds


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.conv2 = nn.Conv2d(4, 8, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(128, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


class Mnist(Code):
    """pytorch/examples, mnist: dropout, Adadelta, a step of the rate after each epoch, a test after it."""

    unwritten = "StepLR: one of torch's schedulers"

    def make(self):
        self.model = Net()
        self.train = DataLoader(TensorDataset(*digits(120)), batch_size=32, shuffle=True)
        self.val = DataLoader(TensorDataset(*digits(40)), batch_size=20, shuffle=True)
        self.optimizer = optim.Adadelta(self.model.parameters(), lr=1.0)
        self.scheduler = StepLR(self.optimizer, step_size=1, gamma=0.7)

    def loop(self):
        for _epoch in range(1, 4):
            self.model.train()
            for data, target in self.train:
                self.optimizer.zero_grad()
                output = self.model(data)
                loss = F.nll_loss(output, target)
                loss.backward()
                self.optimizer.step()
                yield loss
            self.test()
            self.scheduler.step()

    def test(self):
        self.model.eval()
        test_loss = 0
        with torch.no_grad():
            for data, target in self.val:
                test_loss += F.nll_loss(self.model(data), target, reduction="sum").item()
        self.val_losses.append(test_loss / len(self.val.dataset))

    def run(self):
        settings = {"optimizer": self.optimizer, "schedule": self.scheduler, "epochs": 3}
        return self.given(loss=F.nll_loss, metrics=["accuracy"], **settings)


class RowNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(input_size=12, hidden_size=16, batch_first=True)
        self.batchnorm = nn.BatchNorm1d(16)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(16, 12)
        self.fc2 = nn.Linear(12, 10)

    def forward(self, images):
        images = images.reshape(-1, 12, 12)
        output, _hidden = self.rnn(images)
        output = self.dropout1(self.batchnorm(output[:, -1, :]))
        output = self.dropout2(F.relu(self.fc1(output)))
        return F.log_softmax(self.fc2(output), dim=1)


class MnistRnn(Code):
    """pytorch/examples, mnist_rnn: an LSTM over the rows, batch normalization, the last batch a smaller one."""

    def make(self):
        self.model = RowNet()
        self.train = DataLoader(TensorDataset(*digits(110)), batch_size=25, shuffle=True)
        self.optimizer = optim.Adadelta(self.model.parameters(), lr=0.5)

    def loop(self):
        for _epoch in range(3):
            self.model.train()
            for data, target in self.train:
                self.optimizer.zero_grad()
                loss = F.nll_loss(self.model(data), target)
                loss.backward()
                self.optimizer.step()
                yield loss

    def run(self):
        return self.given(loss=F.nll_loss, optimizer=self.optimizer, epochs=3)


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(144, 24)
        self.fc21 = nn.Linear(24, 4)
        self.fc22 = nn.Linear(24, 4)
        self.fc3 = nn.Linear(4, 24)
        self.fc4 = nn.Linear(24, 144)

    def forward(self, x):
        hidden = F.relu(self.fc1(x.view(-1, 144)))
        mu, logvar = self.fc21(hidden), self.fc22(hidden)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def elbo(output, x):
    """Reconstruction and KL divergence, summed over elements and batch."""
    recon_x, mu, logvar = output
    bce = F.binary_cross_entropy(recon_x, x.view(-1, 144), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def reconstruct(model, batch):
    data, _labels = batch
    return model(data), data


class VaeCode(Code):
    """pytorch/examples, vae: a model of several outputs that draws, and a summed loss of its own."""

    def make(self):
        images, kinds = digits(128)
        self.model = Vae()
        self.train = DataLoader(TensorDataset(images.sigmoid(), kinds), batch_size=32, shuffle=True)
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-3)

    def loop(self):
        for _epoch in range(3):
            self.model.train()
            for data, _labels in self.train:
                self.optimizer.zero_grad()
                loss = elbo(self.model(data), data)
                loss.backward()
                self.optimizer.step()
                yield loss

    def run(self):
        return self.given(loss=elbo, forward=reconstruct, optimizer=self.optimizer, epochs=3)


class Scaled(Dataset):
    """Images to be made larger: each with its smaller self."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        target = self.images[index].clone()
        return F.avg_pool2d(target, 2), target


class Upscaler(nn.Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5, 1, 2)
        self.conv2 = nn.Conv2d(8, upscale_factor**2, 3, 1, 1)
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        nn.init.orthogonal_(self.conv1.weight, nn.init.calculate_gain("relu"))
        nn.init.orthogonal_(self.conv2.weight)

    def forward(self, x):
        return self.pixel_shuffle(self.conv2(F.relu(self.conv1(x))))


class SuperResolution(Code):
    """pytorch/examples, super_resolution: a Dataset of one's own, fetched by workers."""

    def make(self):
        self.model = Upscaler(2)
        train, test = Scaled(digits(48)[0]), Scaled(digits(16)[0])
        self.train = DataLoader(dataset=train, num_workers=1, batch_size=8, shuffle=True)
        self.val = DataLoader(dataset=test, num_workers=0, batch_size=4, shuffle=False)
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-2)

    def loop(self):
        criterion = nn.MSELoss()
        for _epoch in range(2):
            for batch in self.train:
                inputs, target = batch[0], batch[1]
                self.optimizer.zero_grad()
                loss = criterion(self.model(inputs), target)
                loss.backward()
                self.optimizer.step()
                yield loss

    def run(self):
        return self.given(loss=nn.MSELoss(), optimizer=self.optimizer, epochs=2)
