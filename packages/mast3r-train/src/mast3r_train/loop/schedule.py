"""The learning rate: linear warm-up, then half a cosine (spec 40 section 9.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CosineSchedule:
    """Learning rate as a function of the fractional epoch.

    Attributes:
        lr: learning rate at the end of the warm-up.
        min_lr: learning rate at the end of training.
        warmup_epochs: length of the linear rise from 0.
        epochs: length of the training, warm-up included.
    """

    lr: float
    min_lr: float
    warmup_epochs: float
    epochs: float

    def at(self, epoch: float) -> float:
        """Learning rate at a fractional epoch in [0, epochs]."""
        if epoch < self.warmup_epochs:
            return self.lr * epoch / self.warmup_epochs
        length = self.epochs - self.warmup_epochs
        progress = (epoch - self.warmup_epochs) / length if length > 0 else 1.0
        return self.min_lr + (self.lr - self.min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def apply(self, optimizer: torch.optim.Optimizer, epoch: float) -> float:
        """Set every group's learning rate, times its ``lr_scale`` if it has one; returns the unscaled one."""
        lr = self.at(epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        return lr
