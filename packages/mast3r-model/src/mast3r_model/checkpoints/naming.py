"""Which stored tensor goes where: tied names, cloned decoders, what may be missing (spec 10 S9.4).

A network may hold one tensor under several names (DPT's ``scratch.layer1_rn`` is ``scratch.layer_rn.0``); a
file may have any of these names, or all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from mast3r_model.errors import CheckpointError

Purpose = Literal["use", "initialise"]
"""Load all of a network to use it, or what fits to initialise another one."""

_HEADS = "downstream_"
_PRETRAINING_HEAD = "prediction_head."
_FIRST_DECODER, _SECOND_DECODER = "dec_blocks.", "dec_blocks2."
_SHOWN_KEYS = 8
_HINTS: dict[Purpose, str] = {
    "use": "to initialise a network of another architecture: load_pretrained_into(), or "
    "mast3r train --pretrained",
    "initialise": "only heads may differ; the trunk needs the file's widths and depths",
}


@dataclass(frozen=True)
class KeyMatch:
    """How a file's tensors fit a network's slots.

    Attributes:
        source: for each slot (the first of its names) the name of the stored tensor that fills it.
        aliases: for each slot all its names.
        cloned: slots that share their source with another slot and so need a copy of their own.
        missing: names without a stored tensor, in the network's order, tied names each by themselves.
        unexpected: names of stored tensors without a slot, in the file's order.
    """

    source: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]
    cloned: frozenset[str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class KeyMismatchError(CheckpointError):
    """A checkpoint's keys or shapes do not fit the network.

    Attributes:
        missing: all names that the network needs and the file lacks.
        unexpected: all names in the file that the network does not have.
        misshapen: for each name whose shape differs, (stored shape, needed shape).
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshapen = dict(misshapen or {})


def slots_of(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The persistent tensors of a network: the first name of each -> all its names, in state-dict order."""
    names_of: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names_of.setdefault(id(tensor), []).append(name)
    return {names[0]: tuple(names) for names in names_of.values()}


def match_keys(
    model: nn.Module, stored: Mapping[str, Tensor], *, purpose: Purpose, path: str | Path
) -> KeyMatch:
    """Fit stored tensors to a network by name and shape.

    Args:
        model: the network, possibly on the meta device.
        stored: the file's state dict.
        purpose: "use" wants every slot filled and nothing left over; "initialise" clones a second decoder
            where the file has one only, leaves heads out, and ignores other networks' heads.
        path: the file, for messages.

    Raises:
        KeyMismatchError: they do not fit; lists the names.
        CheckpointError: the file has different tensors under tied names.
    """
    slots = slots_of(model)
    source = {
        slot: name
        for slot, aliases in slots.items()
        if (name := _stored_name(aliases, stored, path)) is not None
    }
    known = {alias for aliases in slots.values() for alias in aliases}
    unexpected = [name for name in stored if name not in known]
    cloned: set[str] = set()
    if purpose == "initialise" and not any(name.startswith(_SECOND_DECODER) for name in stored):
        for slot in slots:
            twin = _FIRST_DECODER + slot.removeprefix(_SECOND_DECODER)
            if slot.startswith(_SECOND_DECODER) and twin in stored:
                source[slot] = twin
                cloned.add(slot)
    missing = [alias for slot, aliases in slots.items() if slot not in source for alias in aliases]
    _check(model, stored, source, missing, unexpected, purpose=purpose, path=path)
    return KeyMatch(source, slots, frozenset(cloned), tuple(missing), tuple(unexpected))


def _stored_name(aliases: Sequence[str], stored: Mapping[str, Tensor], path: str | Path) -> str | None:
    present = [name for name in aliases if name in stored]
    for other in present[1:]:
        if not _same(stored[present[0]], stored[other]):
            raise CheckpointError(
                f"{path}: {present[0]} and {other} must be the same tensor, but differ",
                hint="the file is damaged, or was edited by hand",
            )
    return present[0] if present else None


def _same(first: Tensor, second: Tensor) -> bool:
    if first.data_ptr() == second.data_ptr() and first.stride() == second.stride():
        return first.shape == second.shape
    return torch.equal(first, second)


def _check(
    model: nn.Module,
    stored: Mapping[str, Tensor],
    source: Mapping[str, str],
    missing: Collection[str],
    unexpected: Collection[str],
    *,
    purpose: Purpose,
    path: str | Path,
) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict(keep_vars=True).items()}
    misshapen = {
        slot: (tuple(stored[name].shape), expected[slot])
        for slot, name in source.items()
        if tuple(stored[name].shape) != expected[slot]
    }
    if purpose == "initialise":
        missing = [name for name in missing if not name.startswith(_HEADS)]
        unexpected = [name for name in unexpected if not name.startswith((_HEADS, _PRETRAINING_HEAD))]
    if not (missing or unexpected or misshapen):
        return
    shapes = [f"{name} is {list(was)}, expected {list(needed)}" for name, (was, needed) in misshapen.items()]
    complaints = [
        _counted(missing, "missing key", "missing keys"),
        _counted(unexpected, "unexpected key", "unexpected keys"),
        _counted(shapes, "wrong shape", "wrong shapes"),
    ]
    raise KeyMismatchError(
        f"{path} does not fit {type(model).__name__}: {'; '.join(filter(None, complaints))}",
        hint=_HINTS[purpose],
        missing=list(missing),
        unexpected=list(unexpected),
        misshapen=misshapen,
    )


def _counted(items: Collection[str], singular: str, plural: str) -> str:
    if not items:
        return ""
    shown = ", ".join(list(items)[:_SHOWN_KEYS])
    more = f" and {len(items) - _SHOWN_KEYS} more" if len(items) > _SHOWN_KEYS else ""
    return f"{len(items)} {singular if len(items) == 1 else plural}: {shown}{more}"
