"""`Run`: a training run one can steer while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nbopt.record.snapshots import Snapshot
from nbopt.run import past, predicting
from nbopt.run.changing import ChangesStructure
from nbopt.run.lr_finder import Sweep, find_lr
from nbopt.run.population.of_run import AsksMany
from nbopt.run.spec import RunSpec
from nbopt.run.written import Written
from nbopt.store.database import AUTO, Place
from nbopt.training.step.passes import Forward


class Run(AsksMany, ChangesStructure, Written):
    """A training run. Show it as the last expression of a cell, and steer it.

    Parameters
    ----------
    model : torch.nn.Module
        Trained in place, moved to the device.
    train : tuple of arrays or tensors, Dataset, list of samples, DataLoader or iterable of batches
        ``(X, y)``, each of shape (n, ...). Arrays, data frames and tensors given so become floats of the model's own
        type (float32 or float64) and int64; X of whole numbers becomes floats where the model needs them; booleans,
        half precision and images of bytes stay. `converted` tells what became what. What a Dataset or DataLoader holds
        is used as it is. ``batch_size`` is live unless the loader makes its own batches, see ``inert``. X and y may
        hold several arrays by name or position, in mappings and tuples: ``(X, {"digit": y, "angle": a})``; those of X
        are used as they are given.
    val : same kinds, float or None
        A float in (0, 1) is a share of ``train``: seeded, stratified for class labels in memory. A loader's own batches
        are kept.
    loss : str, callable, list or mapping
        A name of ``nbopt.techniques.losses.choice.LOSSES``; ``callable(output, target)`` returning a scalar tensor; or
        a list of terms, each one of these or a pair (weight, one of these). Where the model returns several outputs, a
        mapping from their names or positions to these: ``{"digit": "cross_entropy", "angle": (0.3, "mse")}``. Targets
        go by the same names, the weighted sum is trained on, and the hyperparameters of each go by its name:
        ``angle_weight``, ``digit_label_smoothing``; ``monitor="angle_loss"`` lets early stopping and the best weights
        go by one of them. The weights of a module are trained too: a named optimizer gets them after the model's, one
        of yours has to hold them. Validation shows the mean over all that the loss counts, and of a loss that sums, the
        sum of as many samples as a training batch has; of a function of your own, the mean over batches, which weigh as
        many targets as they have.
    forward : callable, optional
        ``callable(model, batch) -> (output, target)``, where a batch is not simply (x, y).
    optimizer : str, torch.optim class or instance, or callable
        A callable makes one of the weights: ``functools.partial(torch.optim.Adam, eps=1e-5)``.
    metrics : list of str or callable, or mapping, optional
        Names of ``nbopt.techniques.metrics.choice.METRICS``, names of scikit-learn's scorers, functions of
        ``sklearn.metrics``, ``callable(output, target)``, or objects with ``update``, ``compute`` and ``reset``. What
        outputs are, probabilities or scores, and which labels do not count, is read from the loss and the end of the
        model. A metric that raises is NaN, and the journal says why. Of several outputs, a mapping from their names:
        ``{"digit": ["accuracy"], "angle": ["mae"]}``. The history then holds ``digit_loss``, ``val_digit_loss``,
        ``digit_accuracy``, ``val_digit_accuracy`` and so on.
    techniques : list of Technique, optional
        Classes or instances of your own, see `nbopt.Technique`: they act in each step, and their hyperparameters are
        the run's.
    seed : int
        Decides the order of samples, dropout and the split; the initial weights only with ``initialization``.
    device : str or torch.device
        ``"auto"`` picks CUDA, else MPS, else the CPU.
    name : str, optional
        What lists and panels call this run.
    store : str, path or None
        The folder that keeps the run beyond this process, see `nbopt.open`: by default ``NBOPT_HOME``, else ``.nbopt``
        in the working directory. None keeps nothing.
    **hyperparams
        Any declared hyperparameter: ``lr``, ``batch_size``, ``epochs``, ... Giving ``patience`` or ``min_delta``
        switches ``early_stopping`` on. ``schedule`` may be one of your own, see
        `nbopt.techniques.schedules.own.schedule_choice`: a torch scheduler over the optimizer given, what makes one, as
        ``functools.partial(StepLR, step_size=10)``, or a function of the step that returns a factor of the rate.

    Raises
    ------
    InvalidHyperparam
        For an unknown name or an illegal value (a ``ValueError`` and ``TypeError``).
    TypeError, ValueError
        For a model that cannot be trained. Data are checked at the start.

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
        """Go back to where the run was, before any change made there; it then rests there.

        This is exact at any step: the steps since the nearest snapshot before it are done again.

        Parameters
        ----------
        to : int, "best" or Snapshot
            A number of steps done.

        Raises
        ------
        InvalidHyperparam
            If the run has not been there.

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
        """Return a new run, at rest, with its own copy of the model, to go on from where this one was.

        Parameters
        ----------
        at : int, "best" or Snapshot
            A number of steps done.
        edit : Edit, optional
            What is to become of the model's shape there, as ``nbopt.Widen("hidden", by=8)``; see `edit`.
        **changes
            Hyperparameters that are to be different from there on.

        Raises
        ------
        InvalidHyperparam
            If the run has not been there, or a change is not legal.
        TypeError
            If model, loss or forward hold what cannot be copied, as an open file; names it. So do the others.
        RuntimeError
            If a copy would still use the original, through a global variable; names the line. So do `replay` and
            `find_lr`.

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
        """Try rising learning rates on a copy of the run, one step each, from where it is (Smith 2017, section 3.3).

        The run itself stays as it is, to the bit; if it trains, it is paused. Schedule and guard do not act in the
        sweep, which ends early where the loss explodes.

        Parameters
        ----------
        low, high : float
            The first and the last rate.
        steps : int
            How many rates, at least 10, evenly spaced on a log scale.

        Returns
        -------
        Sweep
            The rates, their losses, and a suggestion.

        Raises
        ------
        ValueError
            For rates that do not rise, or too few steps.

        Examples
        --------
        >>> sweep = run.find_lr(1e-4, 1.0, steps=10)
        >>> len(sweep.rates) <= 10, run.step_count
        (True, 0)
        """
        return find_lr(self, low, high, steps)

    def replay(self) -> Run:
        """Return a new run that does again, from the same initial weights, all that this one did, in its own thread.

        On the CPU, with the same number of threads, it ends with the same weights, bit for bit.

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
        """Return the model's outputs on ``x``, on the CPU, without disturbing the training in any way.

        The model computes in evaluation mode, without gradients, on the run's device, batch by batch and with the same
        weights for all of them. A run that trains does this between two steps and then trains on; one at rest does it
        at once.

        Parameters
        ----------
        x : array, Tensor, Dataset or DataLoader
            Inputs, (n, ...); or what ``train`` may be, whose targets do not count. Batches go through ``forward``
            where the run has one of yours.

        Returns
        -------
        Tensor
            (n, ...), in the order of the samples, of a loader that shuffles too; where the model returns several, a
            container like its own; where batches differ in their shape, a list of them.

        Raises
        ------
        TypeError, ValueError
            For data of another kind; whatever the model raises on these.

        Examples
        --------
        >>> run.start()
        >>> run.predict(X[:8]).argmax(1).shape
        torch.Size([8])
        """
        return predicting.predict(self, x)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Have the run rest in a ``with`` block; afterwards it goes on as if there had been none.

        A run that trains is paused after its step and resumed after the block. Modes that modules had in training, the
        random numbers of torch, numpy and Python and what the model keeps in attributes, as the state of a recurrent
        one, are put back, whatever was done within.

        Raises
        ------
        RuntimeError
            In the run's own thread, as in a metric of yours.

        Examples
        --------
        >>> with run.at_rest():
        ...     _ = run.model.eval()
        ...     with torch.no_grad():
        ...         scores = run.model(X)
        """
        with predicting.at_rest(self):
            yield
