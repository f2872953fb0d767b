"""BERT and GPT-2 of transformers, small and with random weights, on batches of its own collators."""

# isort: off
from tests.field.libraries import operators  # noqa: F401  before transformers, which looks for torchvision

# isort: on
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn, optim
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    get_scheduler,
)

from tests.field.harness import Code

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"the film was is very good bad long dull fun never always".split()]


def make_tokenizer():
    """Return a tokenizer of a few words, made without a download."""
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[SEP]", unk_token="[UNK]")


def sentences(count):
    for index in range(count):
        mood = ("good", "bad", "dull", "fun")[index % 4]
        yield (
            " ".join(["the film was", *["very"] * (index % 3), mood, *["always"] * (index % 2)]),
            int(index % 4 in (0, 3)),
        )


def own_loss(model, batch):
    """Return the loss that the model works out itself."""
    return model(**batch).loss, batch["labels"]


def as_it_is(output, _labels):
    return output


class Bert(Code):
    """The training loop of transformers' course, on BERT: dynamic padding, BatchEncoding, AdamW, dropout."""

    unwritten = "LambdaLR: one of torch's schedulers"

    def make(self):
        tokenizer = make_tokenizer()
        samples = [{**tokenizer(text), "label": label} for text, label in sentences(40)]
        collator = DataCollatorWithPadding(tokenizer=tokenizer)
        self.train = DataLoader(samples, shuffle=True, batch_size=8, collate_fn=collator)
        self.val = DataLoader(samples[:12], batch_size=8, collate_fn=collator)
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        self.model = BertForSequenceClassification(BertConfig(vocab_size=len(WORDS), num_labels=2, **sizes))
        self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-3)
        lengths = {"num_warmup_steps": 3, "num_training_steps": 2 * len(self.train)}
        self.lr_scheduler = get_scheduler("linear", optimizer=self.optimizer, **lengths)

    def loop(self):
        self.model.train()
        for _epoch in range(2):
            for batch in self.train:
                batch = {k: v.to("cpu") for k, v in batch.items()}
                loss = self.model(**batch).loss
                loss.backward()
                self.optimizer.step()
                self.lr_scheduler.step()
                self.optimizer.zero_grad()
                yield loss

    def run(self):
        rates = {"schedule": self.lr_scheduler, "schedule_interval": "step"}
        return self.given(loss=as_it_is, forward=own_loss, optimizer=self.optimizer, epochs=2, **rates)


class Gpt2(Code):
    """GPT-2 on stretches of one long text: labels made by the collator, decay for some groups, clipping."""

    def make(self):
        tokenizer = make_tokenizer()
        words = tokenizer(" ".join(text for text, _label in sentences(60)))["input_ids"]
        samples = [{"input_ids": words[i : i + 8], "attention_mask": [1] * 8} for i in range(0, len(words) - 8, 8)]
        collator = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=False)
        self.train = DataLoader(samples, shuffle=True, batch_size=6, collate_fn=collator)
        sizes = {"vocab_size": len(WORDS), "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
        ends = {"bos_token_id": 1, "eos_token_id": 2}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, **ends))
        no_decay = ["bias", "ln_1.weight", "ln_2.weight", "ln_f.weight"]
        named = list(self.model.named_parameters())
        groups = [
            {"params": [p for n, p in named if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
            {"params": [p for n, p in named if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
        ]
        self.optimizer = optim.AdamW(groups, lr=5e-3)

    def loop(self):
        for _epoch in range(2):
            self.model.train()
            for batch in self.train:
                outputs = self.model(batch["input_ids"], labels=batch["labels"], attention_mask=batch["attention_mask"])
                outputs.loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()
                yield outputs.loss

    def run(self):
        settings = {"loss": as_it_is, "forward": own_loss, "optimizer": self.optimizer}
        return self.given(clip_norm=1.0, epochs=2, **settings)
