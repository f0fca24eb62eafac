"""The pair file of a dataset without published pairs: scene by scene, resumable (spec 41 section 16)."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_model import InputError, atomic_write
from mast3r_train.datasets.files import load_npz
from mast3r_train.datasets.pair_lists import PairList, ScenePairs
from mast3r_train.datasets.posed_frames import PosedFolder
from mast3r_train.errors import SampleError

from .framework import Frame, Preparation, run_preparation
from .pair_candidates import candidate_pairs
from .pair_scoring import (
    ChosenPairs,
    PairScores,
    PairSettings,
    SceneGeometry,
    choose_pairs,
    draw_pairs,
    score_pairs,
)

_KEYS = ("images", "pairs", "weight", "unreadable")


@dataclass(frozen=True)
class PairReport:
    """What was made.

    Attributes:
        scenes: scenes that have pairs.
        pairs: pairs written.
        unreadable: frames that were left out, as errors that name the file.
        failed: scene -> why it has no pairs.
    """

    scenes: int
    pairs: int
    unreadable: Sequence[str]
    failed: dict[str, str]


@dataclass(frozen=True)
class _SceneJob:
    folder: PosedFolder
    scene: str
    settings: PairSettings
    part: Path


def settings_of(
    folder: PosedFolder,
    *,
    strides: tuple[int, ...] | None = None,
    random_partners: int | None = None,
    min_overlap: float | None = None,
    max_overlap: float | None = None,
    **more: Any,
) -> PairSettings:
    """Settings of a dataset: its own where None is given.

    Args:
        more: further fields of `PairSettings`.

    Raises:
        ConfigError: a value is out of range.
    """
    low, high = folder.overlap
    return PairSettings(
        strides=folder.strides if strides is None else strides,
        random_partners=folder.random_partners if random_partners is None else random_partners,
        overlap=(low if min_overlap is None else min_overlap, high if max_overlap is None else max_overlap),
        **more,
    )


def make_pair_file(
    folder: PosedFolder,
    path: Path,
    settings: PairSettings,
    *,
    workers: int = 1,
    track: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> PairReport:
    """Find, score and choose pairs in every scene, and write the pair file.

    Finished scenes are kept in a hidden folder beside the file until it is written, so that a run that was
    killed goes on where it stopped.

    Args:
        folder: the dataset's frames.
        path: the pair file.
        settings: how pairs are chosen.
        workers: processes.
        track: wraps the iteration over scenes for a progress display; gets their number too.

    Raises:
        InputError: there are no scenes, or no pair was found.
        OutputError: the file cannot be written.
    """
    scenes = folder.scenes()
    if not scenes:
        raise InputError(f"{folder.root} holds no scenes to make pairs of")
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:8]
    parts = path.with_name(f".{path.stem}.{digest}.parts")
    frames = [
        Frame(scene, part, _SceneJob(folder, scene, settings, part))
        for scene in scenes
        for part in [parts / f"{scene.replace('/', '+')}.npz"]
    ]
    plan = Preparation(frames, make_scene_part, lambda: None, lambda: ())
    failed = dict(run_preparation(plan, workers=workers, track=track).failed)
    unreadable: list[str] = []
    done = [frame for frame in frames if frame.name not in failed]
    pairs = PairList.joined(_read_parts(done, unreadable))
    if not len(pairs):
        shutil.rmtree(parts, ignore_errors=True)
        reasons = [*failed.values(), *unreadable]
        raise InputError(
            f"no pairs were found in the {len(scenes)} scenes of {folder.root}"
            + (f"; first problem: {reasons[0]}" if reasons else "")
        )
    kept = pairs.pairs[draw_pairs(pairs.pairs["score"], settings)]
    PairList(pairs.scenes, pairs.images, pairs.sceneids, kept).write(path)
    shutil.rmtree(parts, ignore_errors=True)
    return PairReport(len(np.unique(kept["scene_id"])), len(kept), tuple(unreadable), failed)


def make_scene_part(job: _SceneJob) -> None:
    """The pairs of one scene, written to the job's file."""
    names, geometry, unreadable = _read_scene(job.folder, job.scene)
    chosen = _scene_pairs(job, names, geometry) if names else None
    with atomic_write(job.part) as temporary:
        np.savez_compressed(
            temporary,
            images=np.array(names, dtype=np.str_),
            pairs=chosen.pairs if chosen else np.empty((0, 2), dtype=np.int64),
            weight=chosen.weight if chosen else np.empty(0, dtype=np.float32),
            unreadable=np.array(unreadable, dtype=np.str_),
        )


def _scene_pairs(job: _SceneJob, names: list[str], geometry: SceneGeometry) -> ChosenPairs:
    published = job.folder.published_pairs(job.scene, names)
    if published is not None:
        candidates, overlap = published
        measured = score_pairs(geometry, candidates)
        given = np.isfinite(overlap)
        scores = PairScores(np.where(given, overlap, measured.overlap), measured.angle)
        return choose_pairs(candidates, scores, job.settings, published=~given)
    cameras = [name.rpartition("/")[0] for name in names]
    instants = [name.rpartition("/")[2] for name in names] if job.folder.is_rig else None
    # Each scene has its own stream, whichever other scenes are there.
    rng = np.random.default_rng([job.settings.seed, zlib.crc32(job.scene.encode())])
    candidates = candidate_pairs(geometry.cam2world, job.settings, rng, cameras=cameras, instants=instants)
    return choose_pairs(candidates, score_pairs(geometry, candidates), job.settings)


def _read_scene(folder: PosedFolder, scene: str) -> tuple[list[str], SceneGeometry, list[str]]:
    """The readable frames of a scene, their geometry, and errors of the others."""
    names: list[str] = []
    unreadable: list[str] = []

    def read() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for frame in folder.frames(scene):
            try:
                geometry = (folder.depth(scene, frame), *folder.camera(scene, frame))
            except SampleError as error:
                unreadable.append(error.message)
                continue
            names.append(frame)
            yield geometry

    return names, SceneGeometry.of(read()), unreadable


def _read_parts(frames: Iterable[Frame], unreadable: list[str]) -> Iterator[ScenePairs]:
    for frame in frames:
        part = load_npz(frame.marker, _KEYS)
        unreadable += part["unreadable"].tolist()
        yield ScenePairs(frame.name, part["images"].tolist(), part["pairs"], part["weight"])


def missing_files(folder: PosedFolder, path: Path) -> Iterator[str]:
    """Files that the loader will look for in vain: those of frames in pairs, or the pair file itself."""
    if not path.is_file():
        yield path.name
        return
    pairs = PairList.read(path)
    used = np.unique(np.concatenate([pairs.pairs["im1_id"], pairs.pairs["im2_id"]]))
    for image in used.tolist():
        for file in folder.files(pairs.scenes[pairs.sceneids[image]], pairs.images[image]):
            if not file.is_file():
                yield str(file.relative_to(folder.root))
