"""From one sequence to another, and from pictures to words: padded, packed, of different lengths."""

import random

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

from tests.field.harness import Code

PAD, SOS = 0, 1


class Reversals(Dataset):
    """Sentences of different lengths, and the same backwards."""

    def __init__(self, count):
        self.sentences = [torch.randint(2, 9, (3 + index % 4,)) for index in range(count)]

    def __len__(self):
        return len(self.sentences)

    def __getitem__(self, index):
        sentence = self.sentences[index]
        return sentence, torch.cat([torch.tensor([SOS]), sentence.flip(0)])


def collate_sentences(batch):
    sources, targets = zip(*batch, strict=True)
    return pad_sequence(sources, padding_value=PAD), pad_sequence(targets, padding_value=PAD)


class Seq2Seq(nn.Module):
    def __init__(self, vocab=9, width=12):
        super().__init__()
        self.source, self.target = nn.Embedding(vocab, width), nn.Embedding(vocab, width)
        self.encoder, self.decoder = nn.LSTM(width, width), nn.LSTM(width, width)
        self.dropout, self.out = nn.Dropout(0.3), nn.Linear(width, vocab)

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        _outputs, hidden = self.encoder(self.dropout(self.source(src)))
        outputs = torch.zeros(len(trg), trg.size(1), 9)
        word = trg[0]
        for t in range(1, len(trg)):
            output, hidden = self.decoder(self.dropout(self.target(word.unsqueeze(0))), hidden)
            outputs[t] = self.out(output.squeeze(0))
            teacher_force = random.random() < teacher_forcing_ratio
            word = trg[t] if teacher_force else outputs[t].argmax(1)
        return outputs


def translate(model, batch):
    src, trg = batch
    output = model(src, trg)
    return output[1:].view(-1, output.shape[-1]), trg[1:].view(-1)


class Translation(Code):
    """bentrevett/pytorch-seq2seq: padded sentences, time first, a coin for each word's teacher, clipping."""

    def make(self):
        self.train = DataLoader(Reversals(60), batch_size=12, shuffle=True, collate_fn=collate_sentences)
        self.model = Seq2Seq()
        for param in self.model.parameters():
            nn.init.uniform_(param.data, -0.08, 0.08)
        self.optimizer = optim.Adam(self.model.parameters())
        self.criterion = nn.CrossEntropyLoss(ignore_index=PAD)

    def loop(self):
        for _epoch in range(3):
            self.model.train()
            for src, trg in self.train:
                self.optimizer.zero_grad()
                output = self.model(src, trg)
                loss = self.criterion(output[1:].view(-1, output.shape[-1]), trg[1:].view(-1))
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1)
                self.optimizer.step()
                yield loss

    def run(self):
        settings = {"loss": self.criterion, "forward": translate, "optimizer": self.optimizer}
        return self.given(clip_norm=1.0, epochs=3, **settings)


class Captions(Dataset):
    """Pictures and captions of different lengths."""

    def __init__(self, count):
        self.images = torch.rand(count, 3, 8, 8)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], torch.arange(2, 5 + index % 5)


def collate_captions(data):
    """Return pictures, padded captions and their lengths, the longest first."""
    data.sort(key=lambda pair: len(pair[1]), reverse=True)
    images, captions = zip(*data, strict=True)
    lengths = [len(caption) for caption in captions]
    targets = torch.zeros(len(captions), max(lengths)).long()
    for row, caption in zip(targets, captions, strict=True):
        row[: len(caption)] = caption
    return torch.stack(images, 0), targets, lengths


class Captioner(nn.Module):
    def __init__(self, vocab=10, width=12):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Flatten())
        self.linear, self.bn = nn.Linear(54, width), nn.BatchNorm1d(width, momentum=0.01)
        self.embed, self.lstm = nn.Embedding(vocab, width), nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, vocab)

    def forward(self, images, captions, lengths):
        with torch.no_grad():
            features = self.backbone(images)
        features = self.bn(self.linear(features))
        embeddings = torch.cat((features.unsqueeze(1), self.embed(captions)), 1)
        hiddens, _state = self.lstm(pack_padded_sequence(embeddings, lengths, batch_first=True))
        return self.out(hiddens[0])


def caption(model, batch):
    images, captions, lengths = batch
    return model(images, captions, lengths), pack_padded_sequence(captions, lengths, batch_first=True)[0]


class Captioning(Code):
    """yunjey/pytorch-tutorial, image captioning: sorted, packed captions and an optimizer over a part of the model."""

    def make(self):
        self.train = DataLoader(Captions(50), batch_size=8, shuffle=True, collate_fn=collate_captions)
        self.model = model = Captioner()
        params = [*model.embed.parameters(), *model.lstm.parameters(), *model.out.parameters()]
        params += [*model.linear.parameters(), *model.bn.parameters()]
        self.optimizer = optim.Adam(params, lr=1e-2)

    def loop(self):
        criterion = nn.CrossEntropyLoss()
        for _epoch in range(2):
            for images, captions, lengths in self.train:
                targets = pack_padded_sequence(captions, lengths, batch_first=True)[0]
                loss = criterion(self.model(images, captions, lengths), targets)
                self.model.zero_grad()
                loss.backward()
                self.optimizer.step()
                yield loss

    def run(self):
        return self.given(loss=nn.CrossEntropyLoss(), forward=caption, optimizer=self.optimizer, epochs=2)


class Pairs(Dataset):
    """Pairs of samples, half of them of one kind, drawn anew each time."""

    def __init__(self, kinds=4, count=10):
        self.data = [torch.randn(count, 6) + 2 * torch.randn(6) for _kind in range(kinds)]

    def __len__(self):
        return 80

    def __getitem__(self, index):
        first = random.choice(range(len(self.data)))
        other = first if index % 2 == 0 else random.choice([k for k in range(len(self.data)) if k != first])
        pair = [self.data[kind][random.randint(0, 9)] for kind in (first, other)]
        return pair[0], pair[1], torch.tensor(1 if index % 2 == 0 else 0, dtype=torch.float)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8))
        self.fc = nn.Sequential(nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 1))

    def forward(self, input1, input2):
        output = torch.cat((self.body(input1), self.body(input2)), 1)
        return torch.sigmoid(self.fc(output))


def compare(model, batch):
    images_1, images_2, targets = batch
    return model(images_1, images_2).squeeze(), targets


class SiameseNetwork(Code):
    """pytorch/examples, siamese_network: pairs by Python's random, one body for both, BCE on probabilities."""

    def make(self):
        self.train = DataLoader(Pairs(), batch_size=16, shuffle=True)
        self.val = DataLoader(Pairs(), batch_size=20)
        self.model = Siamese()
        self.optimizer = optim.Adadelta(self.model.parameters(), lr=1.0)

    def loop(self):
        criterion = nn.BCELoss()
        for _epoch in range(3):
            self.model.train()
            for images_1, images_2, targets in self.train:
                self.optimizer.zero_grad()
                outputs = self.model(images_1, images_2).squeeze()
                loss = criterion(outputs, targets)
                loss.backward()
                self.optimizer.step()
                yield loss

    def run(self):
        settings = {"loss": F.binary_cross_entropy, "forward": compare, "optimizer": self.optimizer}
        return self.given(metrics=["accuracy"], epochs=3, **settings)
