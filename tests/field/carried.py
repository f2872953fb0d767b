"""A language model whose hidden state goes from one batch to the next."""

import math

import torch
from torch import nn

from tests.field.harness import Code


class RNNModel(nn.Module):
    def __init__(self, ntoken=11, width=12, nlayers=2, dropout=0.2):
        super().__init__()
        self.drop, self.encoder = nn.Dropout(dropout), nn.Embedding(ntoken, width)
        self.rnn = nn.LSTM(width, width, nlayers, dropout=dropout)
        self.decoder = nn.Linear(width, ntoken)
        self.nlayers, self.width = nlayers, width
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)

    def forward(self, input, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        return torch.log_softmax(self.decoder(self.drop(output)).view(-1, 11), dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return weight.new_zeros(self.nlayers, bsz, self.width), weight.new_zeros(self.nlayers, bsz, self.width)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()


def repackage_hidden(h):
    """Return hidden states in new tensors, detached from their history."""
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)


class Stretches:
    """The author's get_batch for each place in the text, and which place it is."""

    def __init__(self, source, bptt):
        self.source, self.bptt = source, bptt

    def __len__(self):
        return math.ceil((len(self.source) - 1) / self.bptt)

    def __iter__(self):
        for i in range(0, self.source.size(0) - 1, self.bptt):
            seq_len = min(self.bptt, len(self.source) - 1 - i)
            yield i, self.source[i : i + seq_len], self.source[i + 1 : i + 1 + seq_len].view(-1)


def carry(model, batch):
    """Go on with the hidden state that the batch before has left; at the text's beginning, with none."""
    i, data, targets = batch
    hidden = model.init_hidden(data.size(1)) if i == 0 else repackage_hidden(model.hidden)
    output, model.hidden = model(data, hidden)
    return output, targets


class WordLanguageModel(Code):
    """pytorch/examples, word_language_model: a hidden state carried over batches, clipping, a step by hand."""

    def make(self):
        text = torch.tensor([(i * i + i // 3) % 11 for i in range(340)])
        self.train = Stretches(batchify(text[:240], 4), 7)
        self.val = Stretches(batchify(text[240:], 2), 7)
        self.model = RNNModel()

    def loop(self):
        criterion = nn.NLLLoss()
        for _epoch in range(2):
            self.model.train()
            hidden = self.model.init_hidden(4)
            for _i, data, targets in self.train:
                self.model.zero_grad()
                hidden = repackage_hidden(hidden)
                output, hidden = self.model(data, hidden)
                loss = criterion(output, targets)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 0.25)
                for p in self.model.parameters():
                    p.data.add_(p.grad, alpha=-5.0)
                yield loss
            self.val_losses.append(self.evaluate(criterion))

    def evaluate(self, criterion):
        self.model.eval()
        total_loss, hidden = 0.0, self.model.init_hidden(2)
        with torch.no_grad():
            for _i, data, targets in self.val:
                output, hidden = self.model(data, hidden)
                hidden = repackage_hidden(hidden)
                total_loss += len(data) * criterion(output, targets).item()
        return total_loss / (len(self.val.source) - 1)

    def run(self):
        settings = {"loss": nn.NLLLoss(), "forward": carry, "optimizer": "sgd", "lr": 5.0}
        return self.given(clip_norm=0.25, epochs=2, **settings)
