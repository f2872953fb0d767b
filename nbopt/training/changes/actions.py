"""What is done in a run beside steps and changes, and journaled: `nbopt.record.journal.ACTIONS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbopt.training.training import Training


def act(training: Training, action: str) -> bool:
    """Do an action; return whether it changed anything.

    Parameters
    ----------
    training : Training
    action : str
        ``restore_best`` gives the model the weights of its best validation; ``reopen`` gives patience a fresh start;
        ``leave_out`` completes an epoch without a single sample that a change of batch size left over.
    """
    if action == "leave_out":
        left_out = training.cursor.leave_out()
        training.end_epoch(left_out)
        return left_out
    if action == "reopen":
        return bool(sum(reopen() for reopen in training.acting.reopen))  # all of them
    if not training.best_weights or training.step in (training.judge.best_step, training.restored_at):
        return False
    training.model.load_state_dict(training.best_weights)
    training.restored_at = training.step
    return True
