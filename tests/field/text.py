"""Language models and word vectors: batches drawn for each step, groups of parameters, rates set by hand."""

import math

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from tests.field.harness import Code


class Gpt(nn.Module):
    """A transformer decoder that returns logits and, where there are targets, its loss."""

    def __init__(self, vocab, block, width=16, dropout=0.1):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(block, width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ln_1, self.ln_2, self.ln_f = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width), nn.Dropout(dropout))
        self.dropout = dropout
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.register_buffer("mask", torch.tril(torch.ones(block, block)).bool(), persistent=False)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        x = F.dropout(x, self.dropout, self.training)
        q, k, v = self.attn(self.ln_1(x)).chunk(3, dim=-1)
        att = (q @ k.transpose(-2, -1)) / math.sqrt(q.size(-1))
        att = att.masked_fill(~self.mask[: x.size(1), : x.size(1)], -math.inf).softmax(-1)
        x = x + self.proj(F.dropout(att, self.dropout, self.training) @ v)
        x = x + self.mlp(self.ln_2(x))
        logits = self.lm_head(self.ln_f(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss

    def configure_optimizers(self, weight_decay, learning_rate, betas):
        params = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in params if p.dim() >= 2], "weight_decay": weight_decay},
            {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
        ]
        return optim.AdamW(groups, lr=learning_rate, betas=betas)


def logits_and_loss(model, batch):
    x, y = batch
    return model(x, y), y


def the_models_own(output, _targets):
    return output[1]


class Sorting(Dataset):
    """Digits, and the same digits sorted behind them."""

    def __init__(self, length=5):
        self.length = length

    def __len__(self):
        return 10000

    def __getitem__(self, _index):
        digits = torch.randint(3, size=(self.length,), dtype=torch.long)
        cat = torch.cat((digits, digits.sort()[0]), dim=0)
        x, y = cat[:-1].clone(), cat[1:].clone()
        y[: self.length - 1] = -1
        return x, y


class MinGpt(Code):
    """karpathy/minGPT: a sampler of 1e10 draws and no epochs, labels that do not count, groups, clipping."""

    def make(self):
        dataset = Sorting()
        sampler = RandomSampler(dataset, replacement=True, num_samples=int(1e10))
        self.train = DataLoader(dataset, sampler=sampler, shuffle=False, pin_memory=False, batch_size=16)
        self.model = Gpt(3, 9)
        self.optimizer = self.model.configure_optimizers(0.1, 3e-3, (0.9, 0.95))

    def loop(self):
        self.model.train()
        data_iter = iter(self.train)
        iter_num = 0
        while True:
            try:
                x, y = next(data_iter)
            except StopIteration:
                data_iter = iter(self.train)
                x, y = next(data_iter)
            _logits, loss = self.model(x, y)
            self.model.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            yield loss
            iter_num += 1
            if iter_num >= 15:
                break

    def run(self):
        settings = {"loss": the_models_own, "forward": logits_and_loss, "optimizer": self.optimizer}
        return self.given(clip_norm=1.0, steps=15, **settings)


def get_lr(it, warmup_iters=4, lr_decay_iters=18, min_lr=6e-4, learning_rate=6e-3):
    """Return the rate of a step: up in a line, down along a cosine, then constant."""
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    coeff = 0.5 * (1.0 + math.cos(math.pi * decay_ratio))
    return min_lr + coeff * (learning_rate - min_lr)


def share_of_lr(it):
    return get_lr(it) / 6e-3


class Blocks:
    """nanoGPT's get_batch, again and again: stretches of a long text, anywhere in it."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        while True:
            yield self.get_batch()

    def get_batch(self, block_size=8, batch_size=6):
        ix = torch.randint(len(self.data) - block_size, (batch_size,))
        x = torch.stack([torch.from_numpy((self.data[i : i + block_size]).astype(np.int64)) for i in ix])
        y = torch.stack([torch.from_numpy((self.data[i + 1 : i + 1 + block_size]).astype(np.int64)) for i in ix])
        return x, y


class NanoGpt(Code):
    """karpathy/nanoGPT: batches drawn from one long array, groups, warm-up and cosine by hand, clipping."""

    def make(self):
        data = (np.arange(600) ** 2 % 17).astype(np.uint16)
        self.train = Blocks(data)
        self.model = Gpt(17, 8, dropout=0.0)
        self.optimizer = self.model.configure_optimizers(1e-1, 6e-3, (0.9, 0.95))

    def loop(self):
        for iter_num, (x, y) in enumerate(self.train):
            if iter_num == 22:
                break
            for param_group in self.optimizer.param_groups:
                param_group["lr"] = get_lr(iter_num)
            _logits, loss = self.model(x, y)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            yield loss

    def run(self):
        settings = {"loss": the_models_own, "forward": logits_and_loss, "optimizer": self.optimizer}
        return self.given(schedule=share_of_lr, clip_norm=0.5, steps=22, **settings)


class SkipGrams(Dataset):
    """Words and their neighbours, with words drawn as neighbours that they do not have."""

    def __init__(self, words, window=2, negatives=4):
        self.pairs = [
            (words[i], words[j])
            for i in range(len(words))
            for j in range(max(0, i - window), min(len(words), i + window + 1))
            if i != j
        ]
        counts = np.bincount(words) ** 0.75
        self.shares, self.negatives = counts / counts.sum(), negatives

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        center, context = self.pairs[index]
        return center, context, np.random.choice(len(self.shares), self.negatives, p=self.shares)


def collate_pairs(batch):
    centers, contexts, negatives = zip(*batch, strict=True)
    return torch.LongTensor(centers), torch.LongTensor(contexts), torch.LongTensor(np.stack(negatives))


class SkipGram(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.u_embeddings = nn.Embedding(vocab, width, sparse=True)
        self.v_embeddings = nn.Embedding(vocab, width, sparse=True)
        nn.init.uniform_(self.u_embeddings.weight.data, -1 / width, 1 / width)
        nn.init.constant_(self.v_embeddings.weight.data, 0)

    def forward(self, pos_u, pos_v, neg_v):
        emb_u, emb_v, emb_neg = self.u_embeddings(pos_u), self.v_embeddings(pos_v), self.v_embeddings(neg_v)
        score = -F.logsigmoid(torch.clamp((emb_u * emb_v).sum(1), max=10, min=-10))
        neg_score = torch.clamp(torch.bmm(emb_neg, emb_u.unsqueeze(2)).squeeze(2), max=10, min=-10)
        return torch.mean(score - F.logsigmoid(-neg_score).sum(1))


def skip(model, batch):
    return model(*batch), batch[0]


def as_it_is(output, _target):
    return output


class Word2Vec(Code):
    """Skip-grams with negative sampling: numpy draws in the Dataset, sparse gradients, SparseAdam."""

    def make(self):
        words = [i * i % 13 for i in range(80)]
        self.train = DataLoader(SkipGrams(words), batch_size=32, shuffle=True, collate_fn=collate_pairs)
        self.model = SkipGram(13, 8)
        self.optimizer = optim.SparseAdam(list(self.model.parameters()), lr=0.01)

    def loop(self):
        for _epoch in range(2):
            for pos_u, pos_v, neg_v in self.train:
                self.optimizer.zero_grad()
                loss = self.model(pos_u, pos_v, neg_v)
                loss.backward()
                self.optimizer.step()
                yield loss

    def run(self):
        return self.given(loss=as_it_is, forward=skip, optimizer=self.optimizer, epochs=2)
