"""The order of epochs, checkpoints and log lines of pretraining (spec 40 section 11)."""

from __future__ import annotations

from dataclasses import dataclass

from mast3r_train.loop.epoch import EpochPosition
from mast3r_train.loop.run import RunActions


@dataclass(frozen=True)
class PretrainPlan:
    """When to write what, in epochs; called with what carries it out, it runs the pretraining.

    Unlike the other training there are no evaluations and no final checkpoint, and files and log lines have
    the number of the epoch that was just trained.

    Attributes:
        max_epoch: epochs to train.
        save_freq: write ``last`` after the epochs that are multiples of this; 0 = never.
        keep_freq: keep a numbered checkpoint of those; 0 = of the last epoch only.
    """

    max_epoch: int
    save_freq: int = 1
    keep_freq: int = 20

    def __call__(
        self,
        actions: RunActions,
        *,
        start_epoch: int = 0,
        best_so_far: float,
        position: EpochPosition | None = None,
    ) -> bool:
        """Train from ``start_epoch``, or from a position in it; returns whether the end was reached."""
        for epoch in range(start_epoch, self.max_epoch):
            trained = actions.train(epoch, position if epoch == start_epoch else None)
            if trained is None:
                return False
            if self.save_freq > 0 and epoch % self.save_freq == 0:
                actions.save("last", epoch, best_so_far)
            is_last = epoch == self.max_epoch - 1
            due = is_last or (self.keep_freq > 0 and epoch % self.keep_freq == 0)
            if due and (epoch > 0 or self.max_epoch == 1):
                actions.save(str(epoch), epoch, best_so_far)
            stats = {name: value for name, value in trained.items() if name != "epoch"}
            actions.log(epoch, stats, {}, best_so_far)
        return True
