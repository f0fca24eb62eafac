"""What a training run consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mast3r_train.loop.learner import Criterion, Learner, StepLoss, batch_loss
from mast3r_train.loop.loading import PairLoader
from mast3r_train.loop.run import Walk


@dataclass
class TrainingParts:
    """What a run consists of, built from expressions or made by a caller.

    Attributes:
        learner: model, optimizer, precision.
        train_loader: training batches.
        test_loaders: test batches by name.
        train_criterion: training loss.
        test_criterion: test loss.
        step_loss: forward pass and loss of a micro-batch of training.
        walk: the order of epochs, checkpoints and log lines; None: the settings' (:func:`run_epochs`).
        args: the settings that checkpoints store, by name; None: those of the run.
        board_names: names in TensorBoard that are not the loop's.
    """

    learner: Learner
    train_loader: PairLoader
    test_loaders: Mapping[str, PairLoader]
    train_criterion: Criterion
    test_criterion: Criterion
    step_loss: StepLoss = batch_loss
    walk: Walk | None = None
    args: Mapping[str, Any] | None = None
    board_names: Mapping[str, str] = field(default_factory=dict)
