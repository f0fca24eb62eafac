"""Checkpoints of a training run: upstream's layout, and what exact resuming needs (spec 40 section 9.8)."""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mast3r_model import CheckpointError, read_pth, write_pth
from mast3r_train.loop.epoch import EpochPosition
from mast3r_train.loop.learner import Learner


@dataclass(frozen=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        start_epoch: first epoch to train, or to go on with.
        best_so_far: smallest test loss so far.
        position: place inside ``start_epoch``, if the checkpoint was written in the middle of it.
        pairs_seen: training pairs so far.
        seconds: time spent so far.
    """

    start_epoch: int
    best_so_far: float
    position: EpochPosition | None
    pairs_seen: int
    seconds: float


def checkpoint_path(folder: Path, name: str) -> Path:
    """``checkpoint-<name>.pth``."""
    return folder / f"checkpoint-{name}.pth"


def save_checkpoint(
    path: Path,
    learner: Learner,
    *,
    args: Mapping[str, Any],
    epoch: int,
    best_so_far: float,
    pairs_seen: int,
    seconds: float,
    position: EpochPosition | None = None,
) -> None:
    """Write everything that the run needs to go on; the previous file stays until the new one is whole.

    Args:
        args: the settings by name, stored as the ``argparse.Namespace`` that upstream's loader reads.
        epoch: the last epoch that is whole.
        position: place inside the next epoch, if it has begun.
    """
    content = {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "scaler": learner.scaler.state_dict(),
        "args": argparse.Namespace(**args),
        "epoch": epoch,
        "best_so_far": best_so_far,
        "rng": random_states(),
        "progress": {"pairs_seen": pairs_seen, "seconds": seconds},
    }
    if learner.average is not None:
        content["ema"] = learner.average.state()
    if position is not None:
        content["position"] = asdict(position)
    write_pth(path, content)


def save_final(
    folder: Path, learner: Learner, *, args: Mapping[str, Any], epochs: int, best_so_far: float
) -> Path:
    """Write ``checkpoint-final.pth`` and, if there is an average, ``checkpoint-final-ema.pth``.

    Returns:
        The path of the averaged one if there is one.
    """
    common = {"args": argparse.Namespace(**args), "epoch": epochs, "best_so_far": best_so_far}
    path = checkpoint_path(folder, "final")
    write_pth(path, {**common, "model": learner.model.state_dict()})
    if learner.average is None:
        return path
    averaged = checkpoint_path(folder, "final-ema")
    write_pth(averaged, {**common, "model": learner.average.model.state_dict()})
    return averaged


def load_checkpoint(path: Path, learner: Learner) -> Resumed:
    """Restore model, optimizer, scaler, average and random states, and say where to go on.

    Raises:
        CheckpointError: the file is broken, or does not fit the model; the message names the keys.
        UnsafeCheckpointError: the file holds objects other than tensors, plain values and a Namespace.
    """
    content = read_checkpoint(path)
    missing = [key for key in ("model", "optimizer", "epoch") if key not in content]
    if missing:
        raise CheckpointError(f"{path} is no training checkpoint: it has no {', '.join(missing)}")
    try:
        learner.model.load_state_dict(content["model"], strict=True)
        learner.optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not fit this model: {error}",
            hint="use the --model that it was trained with, or another --output_dir",
        ) from error
    if learner.scaler.is_enabled() and content.get("scaler"):
        learner.scaler.load_state_dict(content["scaler"])
    if learner.average is not None:
        # A run that had no average so far begins it with the weights of now.
        learner.average.load_state(content.get("ema") or {"model": content["model"], "updates": 0})
    if "rng" in content:
        restore_random_states(content["rng"])
    position = content.get("position")
    progress = content.get("progress", {})
    return Resumed(
        start_epoch=int(content["epoch"]) + 1,
        best_so_far=float(content.get("best_so_far", float("inf"))),
        position=EpochPosition(**position) if position else None,
        pairs_seen=int(progress.get("pairs_seen", 0)),
        seconds=float(progress.get("seconds", 0.0)),
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint on the CPU, without running anything that is in it; see `read_pth`."""
    return read_pth(path, mmap=False)  # the optimizer keeps these tensors and writes to them


def random_states() -> dict[str, Any]:
    """States of the random generators of Python, numpy and torch."""
    kind, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": {
            "kind": str(kind),
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "place": int(place),
            "has_gauss": int(has_gauss),
            "gauss": float(gauss),
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """The inverse of :func:`random_states`; on another number of GPUs their states are left."""
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    own = states["numpy"]
    keys = own["keys"].numpy().astype(np.uint32)
    np.random.set_state((own["kind"], keys, own["place"], own["has_gauss"], own["gauss"]))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
