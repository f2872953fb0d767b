"""Series and functions: recurrent, convolutional, polynomial and physical."""

import math
import warnings

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.field.harness import Code


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm1 = nn.LSTMCell(1, 8)
        self.lstm2 = nn.LSTMCell(8, 8)
        self.linear = nn.Linear(8, 1)

    def forward(self, input):
        outputs = []
        h_t = torch.zeros(input.size(0), 8, dtype=torch.double)
        c_t = torch.zeros(input.size(0), 8, dtype=torch.double)
        h_t2, c_t2 = torch.zeros_like(h_t), torch.zeros_like(c_t)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            outputs.append(self.linear(h_t2))
        return torch.cat(outputs, dim=1)


class TimeSequence(Code):
    """pytorch/examples, time_sequence_prediction: doubles, all of the data in each step of L-BFGS."""

    def make(self):
        shifts = np.random.randint(-80, 80, 12).reshape(12, 1)
        waves = np.sin((np.arange(16) + shifts) / 2.0).astype("float64")
        self.input, self.target = torch.from_numpy(waves[3:, :-1]), torch.from_numpy(waves[3:, 1:])
        self.train = DataLoader(TensorDataset(self.input, self.target), batch_size=9)  # all, in their order
        self.model = Sequence()
        self.model.double()
        self.optimizer = optim.LBFGS(self.model.parameters(), lr=0.8, max_iter=4)

    def loop(self):
        criterion = nn.MSELoss()
        for _step in range(6):

            def closure():
                self.optimizer.zero_grad()
                loss = criterion(self.model(self.input), self.target)
                loss.backward()
                return loss

            yield self.optimizer.step(closure)

    def run(self):
        return self.given(loss=nn.MSELoss(), optimizer=self.optimizer, epochs=6)


class PolynomialBatches:
    """Batches of points of a polynomial of degree 4, made as they are needed."""

    def __init__(self):
        self.weights = torch.randn(4, 1) * 5
        self.bias = torch.randn(1) * 5

    def __iter__(self):
        while True:
            x = torch.randn(32).unsqueeze(1)
            x = torch.cat([x**i for i in range(1, 5)], 1)
            yield x, x.mm(self.weights) + self.bias.item()


class Regression(Code):
    """pytorch/examples, regression: a batch drawn for each step, and no epochs."""

    def make(self):
        self.train = PolynomialBatches()
        self.model = nn.Linear(4, 1)

    def loop(self):
        for batch_idx, (batch_x, batch_y) in enumerate(self.train, 1):
            self.model.zero_grad()
            loss = F.smooth_l1_loss(self.model(batch_x), batch_y)
            loss.backward()
            with torch.no_grad():
                for param in self.model.parameters():
                    param.add_(param.grad, alpha=-0.1)
            yield loss
            if batch_idx == 24:
                break

    def run(self):
        return self.given(loss=F.smooth_l1_loss, optimizer="sgd", lr=0.1, steps=24)


class Chomp1d(nn.Module):
    def __init__(self, chomp_size):
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x):
        return x[:, :, : -self.chomp_size].contiguous()


class TemporalBlock(nn.Module):
    def __init__(self, inputs, outputs, kernel_size, dilation):
        super().__init__()
        padding = (kernel_size - 1) * dilation
        with warnings.catch_warnings():  # the old weight_norm is what the code has
            warnings.simplefilter("ignore")
            self.conv1 = nn.utils.weight_norm(nn.Conv1d(inputs, outputs, kernel_size, 1, padding, dilation))
            self.conv2 = nn.utils.weight_norm(nn.Conv1d(outputs, outputs, kernel_size, 1, padding, dilation))
        self.net = nn.Sequential(
            *(self.conv1, Chomp1d(padding), nn.ReLU(), nn.Dropout(0.2)),
            *(self.conv2, Chomp1d(padding), nn.ReLU(), nn.Dropout(0.2)),
        )
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None
        self.conv1.weight.data.normal_(0, 0.01)

    def forward(self, x):
        out = self.net(x)
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class Tcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.tcn = nn.Sequential(TemporalBlock(2, 6, 3, 1), TemporalBlock(6, 6, 3, 2), TemporalBlock(6, 6, 3, 4))
        self.linear = nn.Linear(6, 1)

    def forward(self, x):
        return self.linear(self.tcn(x)[:, :, -1])


def adding(count, length):
    """Return series of numbers and of two marks, (n, 2, length), and the sums of the numbers marked."""
    numbers, marks = torch.rand(count, 1, length), torch.zeros(count, 1, length)
    for index in range(count):
        marks[index, 0, torch.randperm(length)[:2]] = 1
    return torch.cat((numbers, marks), dim=1), (numbers * marks).sum(2)


class TcnAdding(Code):
    """locuslab/TCN, the adding problem: weight normalization, dropout, clipping, batches in the order of the data."""

    def make(self):
        self.train = DataLoader(TensorDataset(*adding(100, 20)), batch_size=16)
        self.val = DataLoader(TensorDataset(*adding(32, 20)), batch_size=32)
        self.model = Tcn()
        self.optimizer = optim.Adam(self.model.parameters(), lr=4e-3)

    def loop(self):
        for _epoch in range(2):
            self.model.train()
            for x, y in self.train:
                self.optimizer.zero_grad()
                loss = F.mse_loss(self.model(x), y)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
                self.optimizer.step()
                yield loss
            self.model.eval()
            with torch.no_grad():
                self.val_losses.extend(F.mse_loss(self.model(x), y).item() for x, y in self.val)

    def run(self):
        return self.given(loss=F.mse_loss, optimizer=self.optimizer, clip_norm=0.05, epochs=2)


def decay(model, batch):
    """Return what the equation u' = -u and the condition u(0) = 1 leave, and zeros."""
    (t,) = batch
    t = t.clone().requires_grad_(True)
    u = model(t)
    (slope,) = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)
    start = model(torch.zeros(1, 1)) - 1
    return (slope + u, start), t


def residuals(output, _t):
    equation, start = output
    return (equation**2).mean() + (start**2).mean()


class Pinn(Code):
    """A physics-informed network: its loss is made of the gradient by the inputs, in validation too."""

    def make(self):
        points = torch.linspace(0, 2, 64).reshape(-1, 1)
        self.train = DataLoader(TensorDataset(points), batch_size=16, shuffle=True)
        self.val = DataLoader(TensorDataset(points[::4] + 0.01), batch_size=16)
        self.model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-2)

    def loop(self):
        for _epoch in range(6):
            for (t,) in self.train:
                self.optimizer.zero_grad()
                t.requires_grad_(True)
                u = self.model(t)
                du = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
                start = self.model(torch.zeros(1, 1)) - 1
                loss = ((du + u) ** 2).mean() + (start**2).mean()
                loss.backward()
                self.optimizer.step()
                yield loss
            total = [residuals(*decay(self.model, batch)).item() for batch in self.val]
            self.val_losses.append(math.fsum(total) / len(total))

    def run(self):
        return self.given(loss=residuals, forward=decay, optimizer=self.optimizer, epochs=6)
