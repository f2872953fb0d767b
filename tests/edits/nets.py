"""Ten architectures, small, each with data of its own."""

import torch
from torch import nn
from torch.nn.functional import max_pool2d

Y = torch.arange(60) % 3


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1, self.norm1 = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.norm2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.norm0(self.stem(x)))
        x = torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.cells = kind(4, 8, batch_first=True, **settings)
        self.head = nn.Linear(16 if settings.get("bidirectional") else 8, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(self.embed(x)).mean(1))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        for _ in range(3):
            x = torch.relu(self.again(x))
        return self.head(x)


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(1, 4, 1)
        self.both, self.head = nn.Conv2d(11, 6, 3), nn.Linear(6 * 9, 3)

    def forward(self, x):
        x = torch.cat([torch.relu(self.one(x)), x, torch.tanh(self.other(x))], 1)
        return self.head(max_pool2d(torch.relu(self.both(x)), 2).flatten(1))


def mlp():
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def normed():
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8), nn.ELU(), nn.Linear(8, 3))


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(8 * 4, 12), nn.ReLU(), nn.Linear(12, 3)),
    )


def vgg():
    features = nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
    )
    head = nn.Sequential(nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Dropout(0.0), nn.Linear(12, 3))
    return nn.Sequential(features, head)


def _made(maker, *shape):
    def made(seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = maker()
            x = torch.randn(60, *shape) + Y.reshape(-1, *[1] * len(shape))
        return model, (x, Y)

    return made


NETS = {
    "mlp": _made(mlp, 4),
    "batch norm": _made(normed, 4),
    "cnn": _made(cnn, 1, 8, 8),
    "vgg": _made(vgg, 1, 8, 8),
    "resnet": _made(ResNet, 1, 8, 8),
    "gru": _made(lambda: Recurrent(nn.GRU), 5, 4),
    "lstm": _made(lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), 5, 4),
    "transformer": _made(Transformer, 5, 4),
    "shared": _made(Shared, 4),
    "concatenated": _made(Joined, 1, 8, 8),
}

# The layers that put out the same units, each with batch normalization behind it, of which some are to be 0.
UNITS = {
    "mlp": [("0",), ("2",)],
    "batch norm": [("0", "1"), ("3",)],
    "cnn": [("0",), ("3",), ("6",)],
    "vgg": [("0.0", "0.1"), ("0.3",), ("0.6", "0.7"), ("1.1",)],
    "resnet": [("stem", "norm0", "conv2", "norm2"), ("conv1", "norm1")],
    "gru": [("cells",)],
    "lstm": [("cells",)],
    "transformer": [("block.linear1",)],
    "shared": [("first", "again")],
    "concatenated": [("one",), ("other",), ("both",)],
}


def zero(model, name, every=2):
    """Set to 0, in every second unit, all weights that put it out."""
    with torch.no_grad():
        for layers in UNITS[name]:
            for layer in layers:
                module = model.get_submodule(layer)
                size = getattr(module, "hidden_size", None)
                for weight in module.parameters():
                    rows = weight.view(-1, size, *weight.shape[1:]) if size else weight[None]
                    rows[:, ::every] = 0.0
