"""A net of skorch, which makes module, loader and optimizer itself."""

import numpy as np
import skorch
import torch
from torch import nn

from tests.field.harness import Code, SeededAlike


class MyModule(nn.Module):
    def __init__(self, num_units=10):
        super().__init__()
        self.dense0, self.nonlin, self.dropout = nn.Linear(20, num_units), nn.ReLU(), nn.Dropout(0.5)
        self.dense1, self.output = nn.Linear(num_units, 10), nn.Linear(10, 2)

    def forward(self, X):
        X = self.dropout(self.nonlin(self.dense0(X)))
        return self.output(torch.relu(self.dense1(X)))


class Skorch(Code):
    """skorch's introduction: numpy arrays, a net that is told what to make, and its own step."""

    def make(self):
        kinds = np.arange(100) % 2
        X = (np.random.randn(100, 20) + kinds[:, None]).astype(np.float32)
        settings = {"lr": 0.1, "batch_size": 16, "iterator_train__shuffle": True, "train_split": None}
        self.net = skorch.NeuralNetClassifier(
            MyModule, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.SGD, optimizer__momentum=0.9, **settings
        )
        self.net.initialize()
        self.train = self.net.get_iterator(self.net.get_dataset(X, kinds.astype(np.int64)), training=True)
        self.model = self.net.module_

    def loop(self):
        assert isinstance(self.train, SeededAlike)
        for _epoch in range(3):
            for batch in self.train:
                yield self.net.train_step(batch)["loss"]

    def run(self):
        return self.given(loss=nn.CrossEntropyLoss(), optimizer=self.net.optimizer_, epochs=3)
