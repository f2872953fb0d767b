"""What one of many runs does by itself."""

from __future__ import annotations

from nbopt.training.many.member import OneOfMany


def look_at(training: OneOfMany) -> bool:
    """Do the pass of the next batch, and no more; return whether it can be done."""
    drawn_from, half_done = training.noise.states, training.half_done
    training.buffers.keep()
    try:
        training.eager.gradients(training.cursor.peek(), training.step, False)
    except Exception:  # which the step raises
        return False
    finally:
        training.loss.discard()
        training.buffers.put_back()
        training.noise.states, training.half_done = drawn_from, half_done
    return True


def do_one(training: OneOfMany) -> int | Exception:
    """Do its next step; return how many were done, or what was raised."""
    try:
        return training.train_step()
    except Exception as error:  # whatever model, loss or data of the user's raise
        return error
