"""Features and predictions as safetensors bytes: packed, read back, checked."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from mast3r_match import Correspondences
from mast3r_model import EncodedImage

from .keys import FORMAT_VERSION
from .options import StorageDtype
from .records import MAPS, TwoViewPrediction, matches_swapped

FORMAT = "mast3r predictions"

HALF_TOLERANCE = 2.0**-10
"""Largest change of a value, relative to its size, for which a map is kept in half precision."""

_CONFIDENCE_STEP = 2.0**-23

RecordKind = Literal["features", "pair"]

_HEADER = "mast3r"

_MATCHES = ("xy0", "xy1", "match_confidence")


class BrokenRecordError(Exception):
    """A file that does not hold what its name says."""


@dataclass(frozen=True)
class Record:
    """A file of the cache, not yet written.

    Attributes:
        kind: what it holds.
        key: what it was computed from.
        data: the file's content.
    """

    kind: RecordKind
    key: str
    data: bytes


def pack_features(features: EncodedImage, key: str) -> Record:
    """An image's features, exactly as they are."""
    tensors = {"tokens": features.tokens, "positions": features.positions}
    tensors |= {f"local{index}": feature_map for index, feature_map in enumerate(features.local or ())}
    height, width = features.image_shape
    notes = {
        "shape": f"{height} {width}",
        "local": str(-1 if features.local is None else len(features.local)),
    }
    return Record("features", key, _pack("features", key, tensors, notes))


def read_features(path: Path, key: str) -> EncodedImage:
    """What `pack_features` packed.

    Raises:
        BrokenRecordError: the file is damaged or another one.
    """
    return _features(*_read(path, "features", key, None))


def features_from_bytes(data: bytes, key: str) -> EncodedImage:
    """What `pack_features` packed, from the content of its file.

    Raises:
        BrokenRecordError: it is damaged or another one.
    """
    with _as_broken():
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        notes = _notes(header.get("__metadata__", {}), "features", key)
        tensors = load(data)
        _compare(tensors, notes["crc32"])
    return _features(tensors, notes)


def pack_pair(prediction: TwoViewPrediction, key: str, first: str, storage: StorageDtype) -> Record:
    """A pair's prediction.

    Args:
        prediction: of the pair.
        key: of the pair.
        first: identity of image 0, because the key is the same for both orders.
        storage: precision of the maps.
    """
    tensors = {name: getattr(prediction, name) for name in MAPS}
    from_one: list[str] = []
    if storage == "fp16":
        # Confidences lie just above 1, and weights are their distance from it: that is what must be precise.
        from_one = [name for name in MAPS if name.startswith("conf") and bool((tensors[name] >= 1).all())]
        tensors |= {name: tensors[name] - 1 for name in from_one}
        tensors = {name: half_if_close(values) for name, values in tensors.items()}
    matches = prediction.matches
    tensors |= {
        "xy0": matches.xy0.to(torch.int16),
        "xy1": matches.xy1.to(torch.int16),
        "match_confidence": matches.confidence,
    }
    return Record("pair", key, _pack("pair", key, tensors, {"first": first, "from_one": from_one}))


def read_pair(path: Path, key: str, first: str, pair: tuple[int, int]) -> TwoViewPrediction:
    """What `pack_pair` packed, turned so that the image of identity `first` is image 0.

    Args:
        path: the file.
        key: what it should hold.
        first: identity of the image that is to be image 0.
        pair: numbers to give to the two images.

    Raises:
        BrokenRecordError: the file is damaged or another one.
    """
    tensors, notes = _read(path, "pair", key, None)
    maps = {name: tensors[name].float() for name in MAPS}
    maps |= {name: maps[name] + 1 for name in notes["from_one"]}
    if notes["first"] == first:
        return TwoViewPrediction.from_maps(pair, maps, _matches(tensors))
    return TwoViewPrediction.from_maps((pair[1], pair[0]), maps, _matches(tensors)).swapped()


def read_matches(path: Path, key: str, first: str) -> Correspondences:
    """Only a pair's matches: a hundredth of the file; see `read_pair`."""
    tensors, notes = _read(path, "pair", key, _MATCHES)
    matches = _matches(tensors)
    return matches if notes["first"] == first else matches_swapped(matches)


def check_header(path: Path, kind: RecordKind, key: str) -> Literal[True]:
    """That a file is whole and holds what it should, by its size and header, without reading it all.

    Raises:
        BrokenRecordError: it does not.
    """
    _read(path, kind, key, ())
    return True


def half_if_close(values: Tensor) -> Tensor:
    """Values in half precision, or as they are where that would change one of them too much.

    Points (h, w, 3) are measured as vectors: no point may move by more than `HALF_TOLERANCE` of its distance.
    Of confidences (h, w) what is below float32's steps at 1 does not count either.
    """
    half = values.half()
    wide = half.float()
    error, size = (wide - values).abs(), values.abs()
    if values.ndim == 3:
        error, size = (
            torch.linalg.vector_norm(wide - values, dim=-1),
            torch.linalg.vector_norm(values, dim=-1),
        )
    # Values that are not finite stay what they are in half precision as well.
    close = (error <= HALF_TOLERANCE * size) | ~size.isfinite()
    if values.ndim == 2:
        close |= error <= _CONFIDENCE_STEP
    return half if bool(close.all()) else values


def _features(tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> EncodedImage:
    height, width = map(int, notes["shape"].split())
    count = int(notes["local"])
    local = None if count < 0 else tuple(tensors[f"local{index}"] for index in range(count))
    return EncodedImage(tensors["tokens"], tensors["positions"], local, (height, width))


def _matches(tensors: Mapping[str, Tensor]) -> Correspondences:
    return Correspondences(
        tensors["xy0"].to(torch.int64), tensors["xy1"].to(torch.int64), tensors["match_confidence"]
    )


def _pack(kind: RecordKind, key: str, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> bytes:
    content: dict[str, Tensor] = {}
    for name, values in tensors.items():
        held = {other.data_ptr() for other in content.values()}
        stored = values.detach().cpu().contiguous()
        content[name] = stored.clone() if stored.data_ptr() in held else stored  # the library wants it so
    checks = {name: _checksum(values) for name, values in content.items()}
    header = {"format": FORMAT, "version": FORMAT_VERSION, "kind": kind, "key": key, "crc32": checks, **notes}
    # One entry: the library writes several in an order of its own, and equal content is to be equal bytes.
    return save(content, {_HEADER: json.dumps(header, sort_keys=True)})


def _read(
    path: Path, kind: RecordKind, key: str, names: Iterable[str] | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with _as_broken(), safe_open(path, "pt") as file:
        notes = _notes(file.metadata() or {}, kind, key)
        tensors = {name: file.get_tensor(name) for name in (notes["crc32"] if names is None else names)}
        _compare(tensors, notes["crc32"])
    return tensors, notes


def _notes(metadata: Mapping[str, str], kind: RecordKind, key: str) -> dict[str, Any]:
    notes = dict(json.loads(metadata.get(_HEADER, "{}")))
    expected = {"format": FORMAT, "version": FORMAT_VERSION, "kind": kind, "key": key}
    if {name: notes.get(name) for name in expected} != expected:
        raise BrokenRecordError("holds something else")
    return notes


def _compare(tensors: Mapping[str, Tensor], checks: Mapping[str, str]) -> None:
    for name, values in tensors.items():
        if _checksum(values) != checks[name]:
            raise BrokenRecordError(f"the content of {name!r} has changed")


@contextmanager
def _as_broken() -> Iterator[None]:
    """Whatever a damaged file makes the library, JSON or a lookup raise means just that."""
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BrokenRecordError(str(error) or type(error).__name__) from error


def _checksum(values: Tensor) -> str:
    return f"{zlib.crc32(values.contiguous().flatten().view(torch.uint8).numpy().data):08x}"
