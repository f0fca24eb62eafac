"""Which photos of a reconstruction make pairs: from a file, or from what they see in common, found once.

A file of one's own is ``pairs.npz`` (spec 41 section 16) or ``pairs.txt`` (two names a line, by commas where
names hold spaces, and perhaps a score, as ``mast3r pairs`` writes it). Pairs that were found are kept beside
the photos in a hidden file, whose name changes with depth, cameras and settings.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array

from mast3r_model import InputError, OutputError
from mast3r_train.errors import SampleError
from mast3r_train.preparing.pair_candidates import candidate_pairs
from mast3r_train.preparing.pair_scoring import PairSettings, SceneGeometry, choose_pairs, score_pairs

from .files import load_text_lines
from .pair_lists import PairList, ScenePairs
from .photo_sources import Geometry, PhotoSource

LOGGER = logging.getLogger("mast3r.train")

ALL_PAIRS_UP_TO = 64
"""Photos of which every pair is looked at."""

TRACK_PARTNERS = 20
"""Photos with the most points in common that are looked at for each photo."""

NOTHING_SEEN: Geometry = (np.zeros((1, 1), np.float32), np.eye(3))


def pairs_of(root: Path, source: PhotoSource, settings: PairSettings) -> Int[np.ndarray, "n 2"]:
    """Pairs of numbers of photos.

    Args:
        root: folder that may hold a file of pairs, and gets the found ones.
        source: the photos.
        settings: how pairs are found.

    Raises:
        InputError: the file is broken or names no photo that is there, or no two photos see the same.
    """
    for name, read in (("pairs.npz", _of_npz), ("pairs.txt", _of_text)):
        if (root / name).is_file():
            return _numbers(root / name, read(root / name), source)
    digest = _digest(source, settings)
    kept = root / f".posed_photos_pairs.{digest}.npz"
    if kept.is_file():
        return _numbers(kept, _of_npz(kept), source)
    pairs = _found(source, settings)
    if not len(pairs):
        raise InputError(
            f"no two of the {len(source.names)} photos in {root} see enough of the same "
            f"(overlap from {settings.overlap[0]} to {settings.overlap[1]})",
            hint="give overlap=(least, most), a lower min_conf, or a file pairs.txt",
        )
    try:
        PairList.joined([ScenePairs(".", source.names, pairs, np.ones(len(pairs), np.float32))]).write(kept)
    except OutputError as error:
        LOGGER.warning("pairs are found anew each time: %s", error)
    return pairs


def _of_npz(path: Path) -> list[tuple[str, str]]:
    pairs = PairList.read(path)
    return [pairs[number][1:] for number in range(len(pairs))]


def _of_text(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(load_text_lines(path), start=1):
        if line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(",")] if "," in line else line.split()
        if len(fields) not in (2, 3) or not all(fields):
            raise InputError(f"{path}, entry {number}: expected two names and perhaps a score, got {line!r}")
        pairs.append((fields[0], fields[1]))
    return pairs


def _numbers(path: Path, pairs: list[tuple[str, str]], source: PhotoSource) -> Int[np.ndarray, "n 2"]:
    """Names, with or without suffix, to numbers; pairs of photos that are not there are left out."""
    place = {str(PurePosixPath(name).with_suffix("")): number for number, name in enumerate(source.names)}
    place |= {name: number for number, name in enumerate(source.names)}
    known = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
    if not known:
        raise InputError(f"{path} has no pair of photos that are there; they are called {source.names[0]}")
    if len(known) < len(pairs):
        LOGGER.warning("%s: %d of %d pairs name absent photos", path, len(pairs) - len(known), len(pairs))
    numbers = np.array(known, dtype=np.int64)
    if (numbers[:, 0] == numbers[:, 1]).any():
        raise InputError(f"{path} pairs a photo with itself")
    if (source.group[numbers[:, 0]] != source.group[numbers[:, 1]]).any():
        raise InputError(f"{path} pairs photos of different groups, whose poses do not relate to each other")
    return numbers


def _digest(source: PhotoSource, settings: PairSettings) -> str:
    digest = hashlib.sha256(repr((settings, source.names, source.signature())).encode())
    digest.update(source.cam2world.tobytes())
    return digest.hexdigest()[:16]


def _found(source: PhotoSource, settings: PairSettings) -> Int[np.ndarray, "n 2"]:
    candidates = _candidates(source, settings)
    candidates = candidates[source.group[candidates[:, 0]] == source.group[candidates[:, 1]]]
    LOGGER.info("looking for overlap in %d pairs of %d photos", len(candidates), len(source.names))
    depths = zip(_geometries(source), source.cam2world, strict=True)
    geometry = SceneGeometry.of((depth, K, cam2world) for (depth, K), cam2world in depths)
    return choose_pairs(candidates, score_pairs(geometry, candidates), settings).pairs


def _candidates(source: PhotoSource, settings: PairSettings) -> Int[np.ndarray, "n 2"]:
    count = len(source.names)
    if count <= ALL_PAIRS_UP_TO:
        return np.stack(np.triu_indices(count, 1), axis=1)
    near = candidate_pairs(source.cam2world, settings, np.random.default_rng(settings.seed))
    found = np.concatenate([near, _sharing_most(source.tracks(), count)])
    return np.unique(np.sort(found, axis=1), axis=0)


def _sharing_most(tracks: Int[np.ndarray, "m 2"], count: int) -> Int[np.ndarray, "n 2"]:
    """For each photo those that share the most points with it."""
    if not len(tracks):
        return np.empty((0, 2), np.int64)
    point = np.unique(tracks[:, 1], return_inverse=True)[1]
    ones = np.ones(len(tracks), np.int32)
    sees = coo_array((ones, (tracks[:, 0], point)), shape=(count, int(point.max()) + 1)).tocsr()
    common = (sees @ sees.T).tocsr()
    common.setdiag(0)
    found = [np.empty((0, 2), np.int64)]
    for number in range(count):
        row = slice(common.indptr[number], common.indptr[number + 1])
        others, shared = common.indices[row], common.data[row]
        best = others[np.argsort(-shared, kind="stable")[:TRACK_PARTNERS]][: int((shared > 0).sum())]
        found.append(np.stack([np.full(len(best), number), best], axis=1))
    return np.concatenate(found)


def _geometries(source: PhotoSource) -> Iterator[Geometry]:
    for number in range(len(source.names)):
        try:
            yield source.geometry(number)
        except SampleError as error:
            LOGGER.warning("left out of pairs: %s", error)
            yield NOTHING_SEEN
