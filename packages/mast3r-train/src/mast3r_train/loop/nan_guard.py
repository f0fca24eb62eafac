"""A loss or gradient that is not finite: stop, and keep what shows why (spec 40 section 9.7)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mast3r_model import Mast3rError, atomic_write, write_pth
from mast3r_train.loop.loading import Batch

REPORT_NAME = "nan-report.json"
BATCH_NAME = "nan-batch.pt"
SAMPLE_KEYS = ("dataset", "label", "instance", "idx", "rng")


@dataclass(frozen=True)
class NotFinite:
    """Where it happened.

    Attributes:
        what: ``"loss"`` or ``"gradient"``.
        epoch: index of the epoch.
        step: index of the micro-step in it.
        lr: learning rate.
        loss: the loss of the micro-batch.
        details: its parts.
    """

    what: str
    epoch: int
    step: int
    lr: float
    loss: float
    details: Mapping[str, float]


class NotFiniteError(Mast3rError):
    """The loss or a gradient is NaN or infinite; training must stop.

    Attributes:
        place: where it happened.
        batch: the micro-batch, not symmetrised.
    """

    def __init__(self, place: NotFinite, batch: Batch, hint: str | None = None) -> None:
        parts = ", ".join(
            f"{name}={value:.4g}" for name, value in place.details.items() if not math.isfinite(value)
        )
        super().__init__(
            f"the {place.what} is not finite at epoch {place.epoch}, step {place.step}"
            f" (loss {place.loss:.4g}{', ' + parts if parts else ''}, lr {place.lr:.3g}); training stopped",
            hint,
        )
        self.place = place
        self.batch = batch


def keep_evidence(error: NotFiniteError, folder: Path) -> NotFiniteError:
    """Write ``nan-report.json`` and ``nan-batch.pt``; returns the error with a hint that names them.

    ``torch.load(folder / "nan-batch.pt", weights_only=True)`` gives ``{"view1": ..., "view2": ...}``.
    """
    samples = [{key: plain(view[key]) for key in SAMPLE_KEYS if key in view} for view in error.batch]
    report = {**asdict(error.place), "batch": {"view1": samples[0], "view2": samples[1]}}
    with atomic_write(folder / REPORT_NAME) as temporary:
        temporary.write_text(json.dumps(plain(report), indent=1) + "\n", encoding="utf-8")
    write_pth(
        folder / BATCH_NAME, {f"view{number}": dict(view) for number, view in enumerate(error.batch, 1)}
    )
    hint = f"see {folder / REPORT_NAME} and {folder / BATCH_NAME}; the checkpoints are as they were"
    return NotFiniteError(error.place, error.batch, hint)


def plain(value: Any) -> Any:
    """Tensors, arrays and tuples as lists, floats that are not finite as None: ready for JSON."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
