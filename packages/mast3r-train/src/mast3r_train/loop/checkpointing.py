"""Checkpoints of a training run: upstream's layout, and what exact resuming needs (spec 40 section 9.8)."""

from __future__ import annotations

import argparse
import io
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mast3r_model import (
    CheckpointError,
    InputError,
    KeyMismatchError,
    check_weights,
    read_pth,
    write_pth,
)
from mast3r_train.loop.epoch import EpochPosition
from mast3r_train.loop.learner import Learner
from mast3r_train.loop.lora import ADAPTER_FOLDER
from mast3r_train.loop.meters import Meters
from mast3r_train.loop.ranks import Ranks


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


def checkpoint_to_go_on_from(folder: Path, ranks: Ranks) -> Path | None:
    """``checkpoint-last.pth`` if it is there; every rank calls this.

    Raises:
        InputError: some ranks see it and others do not.
    """
    path = checkpoint_path(folder, "last")
    seen, missed = ranks.largest([float(path.exists()), float(not path.exists())])
    if seen and missed:
        raise InputError(
            f"only some of the {ranks.world_size} processes see {path}",
            hint="--output_dir must be a folder that all machines share",
        )
    return path if seen else None


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
    ranks: Ranks | None = None,
) -> None:
    """Write everything that the run needs to go on; the previous file stays until the new one is whole.

    Every rank calls this, and rank 0 writes. ``position`` in the file counts for all ranks together;
    ``ranks`` has what each needs to go on exactly.

    Args:
        args: the settings by name, stored as the ``argparse.Namespace`` that upstream's loader reads.
        epoch: the last epoch that is whole.
        position: place inside the next epoch, if it has begun; this rank's.
    """
    ranks = ranks or Ranks()
    own: dict[str, Any] = {"rng": random_states(), "position": asdict(position) if position else None}
    each = [own] if ranks.world_size == 1 else [_unpacked(b) for b in ranks.gather_bytes(_packed(own))]
    weights = learner.sharing.model_state(learner.model)
    content = {
        "model": learner.usable_weights(weights),
        "optimizer": learner.sharing.optimizer_state(learner.model, learner.optimizer),
        "scaler": learner.scaler.state_dict(),
        "args": argparse.Namespace(**args),
        "epoch": epoch,
        "best_so_far": best_so_far,
        "rng": random_states(),
        "progress": {"pairs_seen": pairs_seen, "seconds": seconds},
    }
    if learner.adapters is not None and weights:
        content["lora"] = learner.adapters.kept(weights)
    if learner.average is not None:
        content["ema"] = learner.average.state()
    if position is not None:
        content["position"] = asdict(_together([EpochPosition(**one["position"]) for one in each]))
    if ranks.world_size > 1:
        content["ranks"] = each
    if ranks.is_main:
        write_pth(path, content)


def save_final(
    folder: Path,
    learner: Learner,
    *,
    args: Mapping[str, Any],
    epochs: int,
    best_so_far: float,
    ranks: Ranks | None = None,
) -> Path:
    """Write ``checkpoint-final.pth`` and, if there is an average, ``checkpoint-final-ema.pth``.

    Every rank calls this, rank 0 writes, and the files are there for all when it returns.

    Returns:
        The path of the averaged one if there is one.
    """
    common = {"args": argparse.Namespace(**args), "epoch": epochs, "best_so_far": best_so_far}
    ranks = ranks or Ranks()
    weights = {"final": learner.sharing.model_state(learner.model)}
    if learner.average is not None:
        weights["final-ema"] = learner.average.model.state_dict()
    if ranks.is_main:
        for name, state in weights.items():
            write_pth(checkpoint_path(folder, name), {**common, "model": learner.usable_weights(state)})
        if learner.adapters is not None:
            learner.adapters.write(folder / ADAPTER_FOLDER, list(weights.values())[-1])
    ranks.barrier()
    return checkpoint_path(folder, list(weights)[-1])


def load_checkpoint(path: Path, learner: Learner, ranks: Ranks | None = None) -> Resumed:
    """Restore model, optimizer, scaler, average and random states, and say where to go on.

    Every rank reads the file. With as many ranks as wrote it each goes on with its own random states and
    meters; else rank 0 has those of all.

    Raises:
        CheckpointError: the file is broken, or does not fit the model; the message names the keys.
        UnsafeCheckpointError: the file holds objects other than tensors, plain values and a Namespace.
    """
    content = read_checkpoint(path)
    missing = [key for key in ("model", "optimizer", "epoch") if key not in content]
    if missing:
        raise CheckpointError(f"{path} is no training checkpoint: it has no {', '.join(missing)}")
    weights = learner.own_weights(content, path)
    try:
        check_weights(learner.model, weights, path=path)
        learner.sharing.load(learner.model, learner.optimizer, weights, content["optimizer"])
    except KeyMismatchError as error:
        raise CheckpointError(
            error.message, hint="use the --model that it was trained with, or another --output_dir"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is of a run that trained other parameters: {str(error).splitlines()[0]}",
            hint="give the same --freeze and --lora options as before, or another --output_dir with "
            f"--pretrained {path}",
        ) from error
    if learner.scaler.is_enabled() and content.get("scaler"):
        learner.scaler.load_state_dict(content["scaler"])
    if learner.average is not None:
        # A run that had no average so far begins it with the weights of now.
        learner.average.load_state(content.get("ema") or {"model": weights, "updates": 0})
    rng, position = _share_of(content, ranks or Ranks())
    if rng is not None:
        restore_random_states(rng)
    progress = content.get("progress", {})
    best_so_far = content.get("best_so_far")
    return Resumed(
        start_epoch=int(content["epoch"]) + 1,
        best_so_far=math.inf if best_so_far is None else float(best_so_far),
        position=position,
        pairs_seen=int(progress.get("pairs_seen", 0)),
        seconds=float(progress.get("seconds", 0.0)),
    )


def _share_of(
    content: Mapping[str, Any], ranks: Ranks
) -> tuple[Mapping[str, Any] | None, EpochPosition | None]:
    """This rank's random states and place in the epoch; None for states that are not its own."""
    each = content.get("ranks", [])
    if len(each) == ranks.world_size:
        own = each[ranks.rank]
        return own["rng"], EpochPosition(**own["position"]) if own["position"] else None
    position = EpochPosition(**content["position"]) if content.get("position") else None
    if ranks.is_main:
        return content.get("rng"), position
    return None, replace(position, meters={}, skipped=0) if position is not None else None


def _together(positions: Sequence[EpochPosition]) -> EpochPosition:
    """The place that all ranks are at, with the meters of all."""
    meters = Meters.from_state(positions[0].meters)
    for position in positions[1:]:
        meters.add(Meters.from_state(position.meters))
    return replace(
        positions[0], meters=meters.state(), skipped=sum(position.skipped for position in positions)
    )


def _packed(values: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(values), buffer)
    return buffer.getvalue()


def _unpacked(payload: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(payload), weights_only=True)


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
