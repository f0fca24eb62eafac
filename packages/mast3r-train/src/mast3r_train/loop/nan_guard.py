"""A loss or gradient that is not finite: stop, and keep what shows why (spec 40 section 9.7)."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from mast3r_model import Mast3rError, atomic_write, write_pth
from mast3r_train.loop.loading import Batch
from mast3r_train.loop.ranks import Ranks

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

    def __init__(self, place: NotFinite, batch: Batch, hint: str | None = None, *, rank: int = 0) -> None:
        parts = ", ".join(
            f"{name}={value:.4g}" for name, value in place.details.items() if not math.isfinite(value)
        )
        where = f" of rank {rank}" if rank else ""
        super().__init__(
            f"the {place.what}{where} is not finite at epoch {place.epoch}, step {place.step}"
            f" (loss {place.loss:.4g}{', ' + parts if parts else ''}, lr {place.lr:.3g}); training stopped",
            hint,
        )
        self.place = place
        self.batch = batch


def keep_evidence(error: NotFiniteError, folder: Path, ranks: Ranks | None = None) -> NotFiniteError:
    """Write ``nan-report.json`` and ``nan-batch.pt``; returns the error with a hint that names them.

    ``torch.load(folder / "nan-batch.pt", weights_only=True)`` gives ``{"view1": ..., "view2": ...}``.

    Every rank calls this with its own error, and rank 0 writes. The batch is that of the first rank whose
    loss is not finite; the report's ``others`` are further ranks like it. A gradient is that of all ranks
    together, so with one that is not finite all are in the report.
    """
    ranks = ranks or Ranks()
    samples = [{key: plain(view[key]) for key in SAMPLE_KEYS if key in view} for view in error.batch]
    own = {"rank": ranks.rank, **asdict(error.place), "batch": {"view1": samples[0], "view2": samples[1]}}
    guilty = error.place.what == "gradient" or not math.isfinite(error.place.loss)
    told = ranks.gather_bytes(json.dumps(plain(own, keep_nan=True)).encode() if guilty else b"")
    report, *others = [json.loads(payload) for payload in told if payload]
    source = report["rank"]
    batch = _batch_of(error.batch, source, ranks)
    place = NotFinite(**{field.name: report[field.name] for field in fields(NotFinite)})
    if ranks.is_main:
        if others:
            report["others"] = others
        with atomic_write(folder / REPORT_NAME) as temporary:
            temporary.write_text(json.dumps(plain(report), indent=1) + "\n", encoding="utf-8")
        write_pth(folder / BATCH_NAME, batch)
    ranks.barrier()
    hint = f"see {folder / REPORT_NAME} and {folder / BATCH_NAME}; the checkpoints are as they were"
    return NotFiniteError(place, error.batch, hint, rank=source)


def _batch_of(own: Batch, source: int, ranks: Ranks) -> dict[str, Any]:
    """The batch of the rank ``source``, on rank 0."""
    views = {f"view{number}": dict(view) for number, view in enumerate(own, 1)}
    if source == 0:
        return views
    buffer = io.BytesIO()
    if ranks.rank == source:
        torch.save(views, buffer)
    payload = ranks.broadcast_bytes(buffer.getvalue(), source)
    return torch.load(io.BytesIO(payload), weights_only=True) if ranks.is_main else views


def plain(value: Any, *, keep_nan: bool = False) -> Any:
    """Tensors, arrays and tuples as lists, floats that are not finite as None: ready for JSON.

    Args:
        keep_nan: leave floats that are not finite, for readers that take Python's ``NaN``.
    """
    if isinstance(value, Mapping):
        return {key: plain(item, keep_nan=keep_nan) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, keep_nan=keep_nan) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), keep_nan=keep_nan)
    if isinstance(value, float) and not math.isfinite(value) and not keep_nan:
        return None
    return value
