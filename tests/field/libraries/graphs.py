"""Graphs of PyTorch Geometric."""

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool

from tests.field.harness import Code


def rings(count):
    """Return rings of different lengths; those of one class have a chord."""
    graphs = []
    for index in range(count):
        size = 4 + index % 4
        nodes = torch.arange(size)
        edges = [torch.stack([nodes, nodes.roll(1)]), torch.stack([nodes.roll(1), nodes])]
        if index % 2:
            edges.append(torch.tensor([[0, 2], [2, 0]]))
        graphs.append(Data(x=torch.rand(size, 3), edge_index=torch.cat(edges, 1), y=torch.tensor([index % 2])))
    return graphs


class Gcn(nn.Module):
    def __init__(self, hidden_channels):
        super().__init__()
        self.conv1 = GCNConv(3, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, hidden_channels)
        self.lin = nn.Linear(hidden_channels, 2)

    def forward(self, x, edge_index, batch):
        x = self.conv2(self.conv1(x, edge_index).relu(), edge_index)
        x = F.dropout(global_mean_pool(x, batch), p=0.5, training=self.training)
        return self.lin(x)


def classify(model, data):
    return model(data.x, data.edge_index, data.batch), data.y


class Graphs(Code):
    """PyTorch Geometric, classification of graphs: its own DataLoader, whose batches are one large graph."""

    def make(self):
        self.train = DataLoader(rings(60), batch_size=16, shuffle=True)
        self.val = DataLoader(rings(20), batch_size=20, shuffle=False)
        self.model = Gcn(16)
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.criterion = nn.CrossEntropyLoss()

    def loop(self):
        for _epoch in range(3):
            self.model.train()
            for data in self.train:
                out = self.model(data.x, data.edge_index, data.batch)
                loss = self.criterion(out, data.y)
                loss.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
                yield loss
            self.model.eval()
            with torch.no_grad():
                for data in self.val:
                    out = self.model(data.x, data.edge_index, data.batch)
                    self.val_losses.append(self.criterion(out, data.y).item())

    def run(self):
        settings = {"loss": self.criterion, "forward": classify, "optimizer": self.optimizer}
        return self.given(metrics=["accuracy"], epochs=3, **settings)
