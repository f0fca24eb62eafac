"""What the annotation files of a CO3Dv2 category say (spec 41 section 5)."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_train.datasets.files import load_json, missing_layout

LEAST_QUALITY = 0.5
"""Sequences whose cameras are rated above are used."""

FrameKey = tuple[str, int]
"""Sequence and frame number, as the annotations count."""


@dataclass(frozen=True)
class FrameAnnotation:
    """One frame's files and camera, as the release describes them.

    Attributes:
        image: file, relative to the release's folder.
        depth: the same.
        mask: the same.
        depth_scale: of the depth file's numbers.
        rotation: 3x3, PyTorch3D's.
        translation: 3, PyTorch3D's.
        focal: of x and y, in NDC.
        principal_point: x and y, in NDC.
        isotropic: both axes of NDC have the unit of half of the shorter side; else of half of their own.
    """

    image: str
    depth: str
    mask: str
    depth_scale: float
    rotation: tuple[tuple[float, ...], ...]
    translation: tuple[float, ...]
    focal: tuple[float, ...]
    principal_point: tuple[float, ...]
    isotropic: bool

    def intrinsics(self, size_wh: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
        """In pixels of the image, float32."""
        half = np.array(size_wh, np.float32) / 2
        scale = np.full(2, half.min()) if self.isotropic else half
        K = np.eye(3, dtype=np.float32)
        K[[0, 1], [0, 1]] = np.array(self.focal, np.float32) * scale
        K[:2, 2] = half - np.array(self.principal_point, np.float32) * scale
        return K

    def cam2world(self) -> Float[np.ndarray, "4 4"]:
        """Camera axes x right, y down, z forward; float32."""
        flip = np.array((-1, -1, 1), np.float32)  # PyTorch3D's x points left, its y up
        world2cam = np.eye(4, dtype=np.float32)
        world2cam[:3, :3] = (np.array(self.rotation, np.float32) * flip).T  # it multiplies rows from the left
        world2cam[:3, 3] = np.array(self.translation, np.float32) * flip
        return np.linalg.inv(world2cam)


def listed_frames(category: Path, kind: str, split: str) -> dict[str, dict[int, int]]:
    """The frames of a category that its set lists name.

    Args:
        category: folder of the category.
        kind: part of the set lists' names.
        split: ``'train'`` or ``'test'``.

    Returns:
        Sequence -> number of a frame in its file's name -> its number in the annotations; sorted.

    Raises:
        InputError: there are no such lists, or one is broken.
    """
    paths = sorted(category.glob(f"set_lists/set_lists_*{kind}*.json"))
    if not paths:
        raise missing_layout("Co3d", category, f"set_lists/set_lists_{kind}.json", _ARCHIVES_HINT)
    found: dict[str, dict[int, int]] = {}
    for path in paths:
        try:
            for sequence, number, file in load_json(path)[split]:
                found.setdefault(sequence, {})[_number_in_name(file)] = int(number)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no set list of CO3Dv2: {error}") from error
    return {sequence: dict(sorted(numbers.items())) for sequence, numbers in sorted(found.items())}


_ARCHIVES_HINT = "--raw is the folder in which all of CO3Dv2's archives are unzipped"


def good_sequences(category: Path) -> frozenset[str]:
    """The sequences whose cameras are good.

    Raises:
        InputError: the annotations are missing or broken.
    """
    path = category / "sequence_annotations.jgz"
    try:
        return frozenset(
            entry["sequence_name"]
            for entry in _read_jgz(path)
            if (entry["viewpoint_quality_score"] or 0) > LEAST_QUALITY
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is no list of CO3Dv2's sequences: {error!r}") from error


def frame_annotations(
    category: Path, wanted: Mapping[str, Collection[int]]
) -> dict[FrameKey, FrameAnnotation | str]:
    """Annotations of some frames of a category.

    The file holds hundreds of thousands of frames, so those not wanted are dropped while it is read.

    Args:
        category: folder of the category.
        wanted: sequence -> numbers, as the annotations count.

    Returns:
        (sequence, number) -> annotation, or what is wrong with it.

    Raises:
        InputError: the file is missing or broken.
    """
    path = category / "frame_annotations.jgz"
    found: dict[FrameKey, FrameAnnotation | str] = {}

    def reduce(entry: dict[str, Any]) -> dict[str, Any] | None:
        if "frame_number" not in entry or "sequence_name" not in entry:
            return entry
        key = entry["sequence_name"], entry["frame_number"]
        if key[1] in wanted.get(key[0], ()):
            try:
                found[key] = _annotation(entry)
            except (KeyError, TypeError, ValueError) as error:
                found[key] = f"{path}: the annotation of {key[0]} frame {key[1]} is broken: {error!r}"
        return None

    _read_jgz(path, reduce)
    return found


def _annotation(entry: Mapping[str, Any]) -> FrameAnnotation:
    viewpoint = entry["viewpoint"]
    ndc = viewpoint["intrinsics_format"]
    if ndc not in ("ndc_isotropic", "ndc_norm_image_bounds"):
        raise ValueError(f"unknown intrinsics_format {ndc!r}")
    rotation = tuple(tuple(float(x) for x in row) for row in viewpoint["R"])
    if [len(row) for row in rotation] != [3, 3, 3]:
        raise ValueError("R is no 3x3 matrix")
    return FrameAnnotation(
        image=str(entry["image"]["path"]),
        depth=str(entry["depth"]["path"]),
        mask=str(entry["mask"]["path"]),
        depth_scale=float(entry["depth"]["scale_adjustment"]),
        rotation=rotation,
        translation=_numbers(viewpoint["T"], 3),
        focal=_numbers(viewpoint["focal_length"], 2),
        principal_point=_numbers(viewpoint["principal_point"], 2),
        isotropic=ndc == "ndc_isotropic",
    )


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count:
        raise ValueError(f"expected {count} numbers, got {len(numbers)}")
    return numbers


def _number_in_name(file: str) -> int:
    matched = re.fullmatch(r"frame(\d+)", Path(file).stem)
    if matched is None:
        raise ValueError(f"{file!r} is no frame000001.jpg")
    return int(matched[1])


def _read_jgz(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    try:
        with gzip.open(path) as file:
            content = file.read()
        return json.loads(content, object_hook=object_hook)
    except FileNotFoundError as error:
        raise missing_layout("Co3d", path.parent, path.name, _ARCHIVES_HINT) from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="unzip its archive again") from error
