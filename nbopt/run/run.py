"""`Run`: a training run one can steer while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nbopt.record.snapshots import Snapshot
from nbopt.run import past, predicting
from nbopt.run.changing import ChangesStructure
from nbopt.run.exports.written import Written
from nbopt.run.lr_finder import Sweep, find_lr
from nbopt.run.population.of_run import AsksMany
from nbopt.run.spec import RunSpec
from nbopt.store.database import AUTO, Place
from nbopt.training.step.passes import Forward


class Run(AsksMany, ChangesStructure, Written):
    """A training run. Make it the last expression of a cell to see its panel, and steer it.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place, and moved to the device.
    train : tuple of arrays or tensors, Dataset, list of samples, DataLoader or iterable of batches
        ``(X, y)``, each of shape (n, ...). In arrays, data frames and tensors given like this, floats are converted
        to the type of the model (float32 or float64) and integers to int64; integers in X become floats if the model
        needs floats. Booleans, half precision and uint8 images are kept. `converted` tells what was converted. The
        contents of a Dataset or DataLoader are used as they are. ``batch_size`` can be changed unless the loader
        makes its own batches, see ``inert``. X and y may hold several arrays by name or position, in mappings and
        tuples: ``(X, {"digit": y, "angle": a})``; those in X are used as given.
    val : same kinds, float or None
        A float in (0, 1) splits off this fraction of ``train``, seeded, and stratified if the targets are class labels
        in memory. A loader is validated in its own batches.
    loss : str, callable, list or mapping
        A name from ``nbopt.techniques.losses.choice.LOSSES``; a ``callable(output, target)`` that returns a scalar
        tensor; or a list of terms, each of them one of these or a pair (weight, one of these). If the model returns
        several outputs, a mapping from their names or positions to losses: ``{"digit": "cross_entropy", "angle":
        (0.3, "mse")}``. The targets must have the same names. The weighted sum is minimized, and the hyperparameters
        of each loss are prefixed with its name: ``angle_weight``, ``digit_label_smoothing``;
        ``monitor="angle_loss"`` makes early stopping and the best weights depend on one of the losses. If the loss
        is a module with weights, they are trained too: an optimizer given by name gets them after the model's, your
        own optimizer must already hold them. The validation loss is the mean over everything that the loss counts; for
        a loss that sums, it is the sum over as many samples as a training batch has, and for your own function the
        mean over batches, weighted by their numbers of targets.
    forward : callable, optional
        ``callable(model, batch) -> (output, target)``, needed if a batch is not simply (x, y).
    optimizer : str, torch.optim class or instance, or callable
        A callable is called with the weights: ``functools.partial(torch.optim.Adam, eps=1e-5)``.
    metrics : list of str or callable, or mapping, optional
        Names from ``nbopt.techniques.metrics.choice.METRICS``, names of scikit-learn scorers, functions of
        ``sklearn.metrics``, a ``callable(output, target)``, or objects with ``update``, ``compute`` and ``reset``.
        Whether the outputs are probabilities or scores, and which labels are ignored, is inferred from the loss and
        the last layer of the model. With several numbers a sample, ``r2`` is the mean of each one's, and ``rmse`` the
        root of the mean over all; scikit-learn's ``root_mean_squared_error``, which may be given, is the mean of each
        one's root. A metric that raises is NaN, and the journal says why. For several outputs, a
        mapping from their names: ``{"digit": ["accuracy"], "angle": ["mae"]}``. The history then holds
        ``digit_loss``, ``val_digit_loss``, ``digit_accuracy``, ``val_digit_accuracy`` and so on.
    techniques : list of Technique, optional
        Classes or instances of `nbopt.Technique`, your own included. They act in each step, and their hyperparameters
        become hyperparameters of the run.
    seed : int
        Seeds the order of samples, dropout and the validation split; the initial weights only with
        ``initialization``.
    device : str or torch.device
        ``"auto"`` picks CUDA, else MPS, else the CPU.
    name : str, optional
        The name shown in lists and panels.
    store : str, path or None
        The folder in which the run is stored, so that `nbopt.open` finds it later: by default ``NBOPT_HOME`` or, if
        that is not set, ``.nbopt`` in the working directory. None stores nothing.
    **hyperparams
        Any declared hyperparameter: ``lr``, ``batch_size``, ``epochs``, ..., see `nbopt.hyperparams`. Giving
        ``patience`` or ``min_delta`` switches ``early_stopping`` on. ``schedule`` may be your own, see
        `nbopt.techniques.schedules.own.schedule_choice`: a torch scheduler made with the optimizer given, a callable
        that makes one, such as ``functools.partial(StepLR, step_size=10)``, or a function of the step that returns a
        factor of the learning rate.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value (a ``ValueError`` and ``TypeError``).
    TypeError, ValueError
        If the model cannot be trained. Data are checked when the run starts.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> run = nbopt.Run(model, train=(X, y), val=0.2, metrics=["accuracy"], lr=0.01, epochs=20)
    >>> run.start()
    >>> run.set(batch_size=20, weight_decay=1e-4)  # while it trains
    """

    def __init__(
        self,
        model: torch.nn.Module,
        train: Any,
        val: Any = None,
        loss: Any = "cross_entropy",
        *,
        forward: Forward | None = None,
        optimizer: Any = "adam",
        metrics: Any = None,
        techniques: Any = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        name: str | None = None,
        store: Place | None = AUTO,
        **hyperparams: Any,
    ) -> None:
        given = (model, train, val, loss, forward, optimizer, metrics, techniques, seed, device, name, store)
        super().__init__(RunSpec(*given, hyperparams))

    def rewind(self, to: int | str | Snapshot, *, source: str = "code") -> None:
        """Go back to an earlier step, before any change made there, and pause.

        This is exact at any step: the steps since the last snapshot before it are done again.

        Parameters
        ----------
        to : int, "best" or Snapshot
            A number of steps done.

        Raises
        ------
        InvalidHyperparam
            If the run has not done this step.

        Examples
        --------
        >>> run.step(9)
        >>> run.rewind(5)
        >>> run.step_count
        5
        """
        past.rewind(self, to, source)

    def branch(
        self,
        at: int | str | Snapshot = "best",
        *,
        edit: Any = None,
        name: str | None = None,
        source: str = "code",
        **changes: Any,
    ) -> Run:
        """Return a new, paused run with its own copy of the model, which continues from a step of this one.

        Parameters
        ----------
        at : int, "best" or Snapshot
            A number of steps done.
        edit : Edit, optional
            A change of the model's structure to begin with, such as ``nbopt.Widen("hidden", by=8)``; see `edit`.
        **changes
            Hyperparameters that differ from there on.

        Raises
        ------
        InvalidHyperparam
            If the run has not done this step, or a change is not legal.
        TypeError
            If model, loss or forward hold something that cannot be copied, such as an open file; names it.
        RuntimeError
            If a copy would still use the original through a global variable; names the line. `replay` and `find_lr`
            raise both errors too.

        Examples
        --------
        >>> run.step(9)
        >>> branch = run.branch(at=5, lr=0.1)
        >>> branch.step(4)
        >>> branch.step_count, run.step_count
        (9, 9)
        """
        return past.branch(self, at, name, edit, self.hyperparams.check(changes), source)

    def find_lr(self, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> Sweep:
        """Try increasing learning rates on a copy of the run, one step each (Smith 2017, section 3.3).

        The run itself does not change by a bit; if it is training, it is paused. The sweep ignores schedule and guard,
        and ends early if the loss explodes.

        Parameters
        ----------
        low, high : float
            The first and the last learning rate.
        steps : int
            The number of rates, at least 10, evenly spaced on a log scale.

        Returns
        -------
        Sweep
            The rates, their losses, and a suggestion.

        Raises
        ------
        ValueError
            If the rates do not increase, or for too few steps.

        Examples
        --------
        >>> sweep = run.find_lr(1e-4, 1.0, steps=10)
        >>> len(sweep.rates) <= 10, run.step_count
        (True, 0)
        """
        return find_lr(self, low, high, steps)

    def replay(self) -> Run:
        """Return a new run that repeats everything this one did, from the same initial weights, in its own thread.

        On the CPU and with the same number of threads, it ends with the same weights, bit for bit.

        Examples
        --------
        >>> run.step(5)
        >>> run.set(lr=0.1)
        >>> run.step(5)
        >>> again = run.replay()
        >>> _ = again.wait()
        >>> torch.equal(again.model[0].weight, run.model[0].weight)
        True
        """
        return past.replay(self)

    def predict(self, x: Any) -> Any:
        """Return the model's outputs for ``x``, on the CPU, without affecting the training.

        The model is evaluated on the run's device in evaluation mode and without gradients, batch by batch, with the
        same weights for all batches. A running run does this between two steps and then trains on.

        Parameters
        ----------
        x : array, Tensor, Dataset or DataLoader
            Inputs of shape (n, ...), or anything that ``train`` may be, in which case targets are ignored. If the run
            has its own ``forward``, batches go through it.

        Returns
        -------
        Tensor
            Of shape (n, ...), in the order of the samples, even if the loader shuffles. If the model returns a
            container of tensors, a container of the same kind; if batches differ in shape, a list of them.

        Raises
        ------
        TypeError, ValueError
            For unsuitable data, and whatever the model raises.

        Examples
        --------
        >>> run.start()
        >>> run.predict(X[:8]).argmax(1).shape
        torch.Size([8])
        """
        return predicting.predict(self, x)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Pause the run for a ``with`` block; afterwards it continues as if nothing had happened.

        A running run is paused after its current step and resumed after the block. Whatever is done in the block, the
        training modes of modules, the random states of torch, numpy and Python, and what the model keeps in
        attributes, such as the hidden state of a recurrent network, are restored.

        Raises
        ------
        RuntimeError
            If called in the run's own thread, for example by a metric.

        Examples
        --------
        >>> with run.at_rest():
        ...     _ = run.model.eval()
        ...     with torch.no_grad():
        ...         scores = run.model(X)
        """
        with predicting.at_rest(self):
            yield
