"""The lists of places that `Habitat512` reads (spec 41 section 1)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mast3r_model import atomic_write
from mast3r_train.datasets.habitat import VIEWS

LOGGER = logging.getLogger("mast3r.train")

SEED = 777

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Places of a training list; the list for validation that is drawn with it has a tenth of them."""

ALL_PLACES = "Habitat_all_scenes.txt"

_CAMERA_FILE = re.compile(r"(?P<batch>.+)_(?P<number>[1-9]\d*)_camera_params\.json")


def finished_places(out: Path) -> dict[str, list[str]]:
    """Folders of the prepared tree, sorted, each with the names of the places whose views are all there.

    Args:
        out: the prepared folder.

    Returns:
        Folder relative to it, with ``/`` -> batches.
    """
    places = {}
    for folder, subfolders, files in os.walk(out):
        subfolders.sort()
        finished: dict[str, set[int]] = {}
        for name in files:
            if found := _CAMERA_FILE.fullmatch(name):
                finished.setdefault(found["batch"], set()).add(int(found["number"]))
        whole = sorted(batch for batch, numbers in finished.items() if numbers >= set(range(1, VIEWS + 1)))
        if whole:
            places[Path(folder).relative_to(out).as_posix()] = whole
    return places


def lists_of_places(
    places: Mapping[str, Sequence[str]], sizes: Sequence[int] = SIZES
) -> Iterator[tuple[str, list[str]]]:
    """Draw the lists: a tenth of the folders is for validation, so that no scene is in both.

    Args:
        places: folder -> batches.
        sizes: places of the training lists.

    Yields:
        Name of a list's file and its lines; no list that there are too few places for.
    """
    rng = np.random.RandomState(SEED)
    folders = [(folder, list(batches)) for folder, batches in places.items()]
    rng.shuffle(folders)
    held_out = len(folders) // 10
    splits = {
        split: [f"{folder}/{batch}" for folder, batches in part for batch in batches]
        for split, part in (("train", folders[held_out:]), ("val", folders[:held_out]))
    }
    for size in sizes:
        for split, count in (("train", size), ("val", size // 10)):
            lines = list(splits[split])
            rng.shuffle(lines)
            if 0 < count <= len(lines):
                yield f"Habitat_{count}_scenes_{split}.txt", lines[:count]


def write_lists(out: Path, sizes: Sequence[int] = SIZES) -> None:
    """Write the list of all places and those of the splits."""
    places = finished_places(out)
    _write(out / ALL_PLACES, [f"{folder}/{batch}" for folder, batches in places.items() for batch in batches])
    for name, lines in lists_of_places(places, sizes):
        _write(out / name, lines)


def _write(path: Path, lines: Sequence[str]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
