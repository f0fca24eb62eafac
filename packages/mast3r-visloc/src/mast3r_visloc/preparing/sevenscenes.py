"""7-Scenes: sequences of a Kinect into kapture folders with registered depth (spec 50 D8).

Raw: ``<scene>/TrainSplit.txt``, ``<scene>/TestSplit.txt`` (``sequence1`` is ``seq-01``) and the sequences
beside them, each a folder ``seq-01/`` or the release's ``seq-01.zip``, with ``frame-000000.color.png``,
``.depth.png`` and ``.pose.txt`` (depth camera to world, metres). The raw folder is the one that holds the
scenes, or one scene.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError

from .contract import Piece, PreparationRequest, ScenePlan
from .depth_registration import (
    CENTRE_XY,
    COLOUR_FOCAL,
    COLOUR_FROM_DEPTH,
    DEPTH_FOCAL,
    SHAPE,
    RegistrationJob,
    write_registered_depth,
)
from .kapture_writing import DevicePose, KaptureLists, KaptureRecord, KaptureSensor, write_kapture
from .placing import RawFile, place_file, read_lines, zip_members
from .scenes import scene_folders

SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
RECORDS = Path("sensors") / "records_data"
RIG, COLOUR, DEPTH, REGISTERED = "kinect", "kinect_rgb", "kinect_depth", "kinect_depth_reg"
SPLITS = {"mapping": "TrainSplit.txt", "query": "TestSplit.txt"}


@dataclass(frozen=True, eq=False)
class _Frame:
    """One shot: its name such as ``seq-01/frame-000000``, raw files, and pose (None: why is in `problem`)."""

    name: str
    colour: RawFile
    depth: RawFile | None
    world2depth: Float[np.ndarray, "4 4"] | None
    problem: str = ""


def plan_sevenscenes(request: PreparationRequest) -> list[ScenePlan]:
    """The plan of every scene that is there.

    Raises:
        InputError: the raw folder holds none of the scenes, or not one that was asked for.
    """
    folders = scene_folders(request.raw, SCENES, request.scenes, ("TrainSplit.txt", "TestSplit.txt"))
    return [_plan_scene(scene, folder, request) for scene, folder in folders.items()]


def _plan_scene(scene: str, raw: Path, request: PreparationRequest) -> ScenePlan:
    out = request.out / scene
    sequences = {part: _split(raw / name) for part, name in SPLITS.items()}
    frames, problems = _frames(raw, sorted({name for part in sequences.values() for name in part}))
    # Mapping and query share one numbering, over the whole scene.
    times = {frame.name: time for time, frame in enumerate(frames)}
    parts = {
        part: [frame for frame in frames if frame.name.split("/")[0] in names]
        for part, names in sequences.items()
    }
    pieces = [*_pieces(out, parts, request.legacy_registration)]
    photos = {
        part: {f"{frame.name}.color.png": _photo(out / part, frame) for frame in members if not frame.problem}
        for part, members in parts.items()
    }
    return ScenePlan(
        scene,
        pieces,
        [
            partial(_write_lists, out / part, part == "mapping", members, times)
            for part, members in parts.items()
        ],
        queries=photos["query"],
        map_photos=photos["mapping"],
        pairs_folder=out / "pairfiles" / "query",
        expression=lambda pairs: (
            f"VislocSevenScenes({str(request.out)!r}, subscene={scene!r}, pairsfile={pairs!r}, topk=1)"
        ),
        problems=problems,
    )


def _split(path: Path) -> list[str]:
    """Names of the sequences in a split: ``sequence1`` is ``seq-01``."""
    lines = [line.strip() for line in read_lines(path) if line.strip()]
    numbers = [re.fullmatch(r"(?:sequence|seq-?)(\d+)", line) for line in lines]
    if not lines or None in numbers:
        raise InputError(f"{path} is no list of sequences", "expected lines such as sequence1")
    return [f"seq-{int(number[1]):02d}" for number in numbers if number is not None]


def _frames(raw: Path, sequences: Iterable[str]) -> tuple[list[_Frame], dict[str, str]]:
    """All shots, sorted, and the sequences that are not there or cannot be read."""
    frames: list[_Frame] = []
    problems: dict[str, str] = {}
    for sequence in sequences:
        try:
            files = _sequence_files(raw, sequence)
            frames += [
                _frame(f"{sequence}/{name.removesuffix('.color.png')}", files)
                for name in sorted(files)
                if re.fullmatch(r"frame-\d+\.color\.png", name)
            ]
        except InputError as error:
            problems[str(raw / sequence)] = str(error)
    return frames, problems


def _sequence_files(raw: Path, sequence: str) -> dict[str, RawFile]:
    """The files of a sequence by name, from its folder or its zip."""
    folder, archive = raw / sequence, raw / f"{sequence}.zip"
    if folder.is_dir():
        files = {path.name: RawFile(path) for path in folder.iterdir()}
    elif archive.is_file():
        files = {PurePosixPath(name).name: RawFile(archive, name) for name in zip_members(archive)}
    else:
        raise InputError(f"neither {folder}/ nor {archive} is there")
    if not any(name.endswith(".color.png") for name in files):
        raise InputError(f"{folder if folder.is_dir() else archive} holds no frame-*.color.png")
    return files


def _frame(name: str, files: Mapping[str, RawFile]) -> _Frame:
    stem = name.split("/")[1]
    colour, depth, pose = (files.get(f"{stem}.{kind}") for kind in ("color.png", "depth.png", "pose.txt"))
    assert colour is not None
    beside = str(colour).removesuffix("color.png")
    if pose is None:
        return _Frame(name, colour, depth, None, f"not found: {beside}pose.txt")
    try:
        return _Frame(name, colour, depth, np.linalg.inv(_read_pose(pose)))
    except InputError as error:
        return _Frame(name, colour, depth, None, str(error))


def _read_pose(file: RawFile) -> Float[np.ndarray, "4 4"]:
    """Depth camera to world."""
    try:
        matrix = np.array(file.read_bytes().decode("ascii").split(), dtype=np.float64).reshape(4, 4)
    except ValueError:
        raise InputError(f"{file} is no pose", "expected four lines of four numbers") from None
    rotation = matrix[:3, :3]
    if not np.isfinite(matrix).all() or abs(np.linalg.det(rotation) - 1) > 0.1:
        raise InputError(f"{file} is no pose: not finite, or no rotation")
    return matrix


def _photo(folder: Path, frame: _Frame) -> Path:
    return folder / RECORDS / f"{frame.name}.color.png"


def _pieces(out: Path, parts: Mapping[str, Sequence[_Frame]], legacy: bool) -> Iterable[Piece]:
    for part, frames in parts.items():
        for frame in frames:
            yield Piece(_photo(out / part, frame), place_file, frame.colour, frame.problem)
            if part == "mapping" and not frame.problem:
                target = out / part / RECORDS / f"{frame.name}.depth.reg"
                if frame.depth is None:
                    missing = str(frame.colour).removesuffix("color.png") + "depth.png"
                    yield Piece(target, problem=f"not found: {missing}")
                else:
                    yield Piece(target, write_registered_depth, RegistrationJob(frame.depth, legacy))


def _write_lists(
    folder: Path, mapping: bool, frames: Sequence[_Frame], times: Mapping[str, int]
) -> list[Path]:
    """kapture's lists of the map or of the queries, of the shots that are there."""
    size_wh = SHAPE[1], SHAPE[0]
    colour, depth = ((focal, *CENTRE_XY) for focal in (COLOUR_FOCAL, DEPTH_FOCAL))
    ready = [frame for frame in frames if _photo(folder, frame).is_file() and frame.world2depth is not None]
    return write_kapture(
        folder,
        KaptureLists(
            sensors=[
                KaptureSensor(COLOUR, "SIMPLE_PINHOLE", size_wh, colour, name=COLOUR),
                KaptureSensor(DEPTH, "SIMPLE_PINHOLE", size_wh, depth, "depth", DEPTH),
                KaptureSensor(REGISTERED, "SIMPLE_PINHOLE", size_wh, colour, "depth", REGISTERED),
            ],
            rigs=[
                DevicePose(RIG, COLOUR, COLOUR_FROM_DEPTH),
                DevicePose(RIG, DEPTH, np.eye(4)),
                DevicePose(RIG, REGISTERED, COLOUR_FROM_DEPTH),
            ],
            photos=[KaptureRecord(times[frame.name], COLOUR, f"{frame.name}.color.png") for frame in ready],
            poses=[
                DevicePose(times[frame.name], RIG, frame.world2depth)
                for frame in ready
                if frame.world2depth is not None
            ],
            depth=[
                KaptureRecord(times[frame.name], REGISTERED, f"{frame.name}.depth.reg")
                for frame in ready
                if mapping and (folder / RECORDS / f"{frame.name}.depth.reg").is_file()
            ],
        ),
    )
