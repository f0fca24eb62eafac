"""A network on its way to other processes and devices."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mast3r_model import Precision, load_model, save_pretrained
from mast3r_sfm.predictions.worker import device_of


@dataclass(frozen=True)
class ModelSource:
    """What a worker builds its network from.

    Attributes:
        model: the network itself, on the CPU; None where `folder` is given.
        folder: weights and configuration, mapped by all workers of a machine at once.
        dtype: of the compute; None for the caller's autocast.
    """

    model: Any
    folder: Path | None
    dtype: torch.dtype | None

    def build(self, device: torch.device) -> Any:
        """The network on a device, in eval mode."""
        if self.folder is not None:
            model = load_model(
                self.folder, device=device, dtype=self.dtype or torch.float32, for_inference=False
            )
        else:
            model = self.model.to(device).eval() if hasattr(self.model, "parameters") else self.model
        if hasattr(model, "precision"):
            model.precision = None if self.dtype is None else Precision(device, self.dtype)
        return model


def shipped_by_file(model: Any) -> tuple[ModelSource, AbstractContextManager[Any]]:
    """A source for processes of this machine, and what to close when they are done.

    Weights travel through a file: shared memory for them may be small, as it is in containers.
    """
    if type(model).__module__.partition(".")[0] != "mast3r_model":
        return shipped_by_value(model), nullcontext()
    folder = TemporaryDirectory(prefix="mast3r-weights-", ignore_cleanup_errors=True)
    save_pretrained(model, folder.name)
    return ModelSource(None, Path(folder.name), _dtype(model)), folder


def shipped_by_value(model: Any) -> ModelSource:
    """A source that holds the weights, on the CPU."""
    if device_of(model).type != "cpu":
        model = copy.deepcopy(model).to("cpu")
    return ModelSource(model, None, _dtype(model))


def _dtype(model: Any) -> torch.dtype | None:
    precision: Precision | None = getattr(model, "precision", None)
    return None if precision is None else precision.dtype
