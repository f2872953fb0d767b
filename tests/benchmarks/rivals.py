"""The rivals: each trains the same torch model (scikit-learn: the same shape) with what its manual shows first.

Progress bars, logs and checkpoints are off.
"""

from __future__ import annotations

import logging
import math
import os
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.loops import Clock, Contender
from tests.benchmarks.workloads import Work


def by_lightning(work: Work, device: str) -> Contender:
    """Lightning: a module with a training step, a ``DataLoader``, a ``Trainer``."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = work.model()
            self.criterion = nn.CrossEntropyLoss()

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> torch.Tensor:
            x, y = batch
            return self.criterion(self.model(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return work.optimizer(self.parameters(), lr=work.lr)

    class Stop(lightning.Callback):
        def __init__(self, clock: Clock) -> None:
            self.clock = clock

        def on_train_batch_end(self, trainer: lightning.Trainer, *_rest: object) -> None:
            trainer.should_stop = self.clock.tick()

    module = Module()
    loader = DataLoader(TensorDataset(*work.data()), batch_size=work.batch, shuffle=True)

    def train(seconds: float) -> float:
        clock = Clock(seconds)
        trainer = lightning.Trainer(
            accelerator=device.replace("cuda", "gpu"),
            devices=1,
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Stop(clock)],
        )
        trainer.fit(module, loader)
        return clock.rate

    return train


def by_skorch(work: Work, device: str) -> Contender:
    """Skorch: a ``NeuralNetClassifier``."""
    import skorch
    from skorch.callbacks import Callback

    class Stop(Callback):
        clock: Clock

        def on_batch_end(self, net: object, *_rest: object, **_more: object) -> None:
            if self.clock.tick():
                raise KeyboardInterrupt  # how one stops it; it ends the fit in good order

    x, y = work.data()
    net = skorch.NeuralNetClassifier(
        work.model(),
        criterion=nn.CrossEntropyLoss,
        optimizer=work.optimizer,
        lr=work.lr,
        batch_size=work.batch,
        iterator_train__shuffle=True,
        train_split=None,
        max_epochs=10**6,
        callbacks=[stop := Stop()],
        callbacks__print_log=None,
        verbose=0,
        device=device,
    )
    net.initialize()

    def train(seconds: float) -> float:
        stop.clock = Clock(seconds)
        net.partial_fit(x, y)
        return stop.clock.rate

    return train


def by_keras(work: Work, _device: str) -> Contender:
    """Keras on torch: ``compile`` and ``fit``; it picks the device itself."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.TorchModuleWrapper(work.model())

        def call(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    class Stop(keras.callbacks.Callback):
        def __init__(self, clock: Clock) -> None:
            super().__init__()
            self.clock = clock

        def on_train_batch_end(self, _batch: int, logs: object = None) -> None:
            self.model.stop_training = self.clock.tick()

    model = Model()
    optimizer = getattr(keras.optimizers, work.optimizer.__name__)(work.lr)
    model.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = (tensor.numpy() for tensor in work.data())

    def train(seconds: float) -> float:
        clock = Clock(seconds)
        model.fit(x, y, batch_size=work.batch, epochs=10**6, verbose=0, callbacks=[Stop(clock)])
        return clock.rate

    return train


def by_sklearn(work: Work, _device: str) -> Contender:
    """scikit-learn's ``MLPClassifier``, by whole epochs; no torch in it."""
    from sklearn.neural_network import MLPClassifier

    x, y = (tensor.numpy() for tensor in work.data())
    network = MLPClassifier(
        (work.hidden,), solver="sgd", learning_rate_init=work.lr, momentum=0.0, alpha=0.0, batch_size=work.batch
    )
    steps = math.ceil(len(x) / work.batch)
    network.partial_fit(x[: work.batch], y[: work.batch], classes=range(work.classes))

    def train(seconds: float) -> float:
        clock = Clock(seconds)
        clock.tick()
        while not clock.tick():
            network.partial_fit(x, y)
        return clock.rate * steps

    return train
