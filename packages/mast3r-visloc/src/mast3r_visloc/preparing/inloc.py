"""InLoc: cutouts of laser scans as the map, phone photos as queries (spec 50 D8).

Raw, relative to the folder: ``database/cutouts/DUC1/000/DUC_cutout_000_0_0.jpg`` with ``.jpg.mat`` beside it
(or ``cutouts/``, or ``DUC1/`` itself); alignments ``database/alignments/DUC1_alignment/`` or ``.../DUC1/``
(or ``alignments/``, or ``DUC1_alignment/`` itself), each with ``all_transformations.txt`` or with
``transformations/*_trans_000.txt``; queries ``query/iphone7/*.JPG`` (or ``iphone7/``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mast3r_model import ImageError, InputError

from .contract import Piece, PreparationRequest, ScenePlan
from .inloc_alignment import ScanAlignments, find_alignment
from .inloc_cutouts import CutoutPoseJob, measure_focal, read_cutout_pose, write_cutout_pose
from .kapture_writing import DevicePose, KaptureLists, KaptureRecord, KaptureSensor, write_kapture
from .phone_camera import phone_focal
from .placing import RawFile, first_existing, inside, photo_size, place_file, write_lines

BUILDINGS = ("DUC1", "DUC2")
CUTOUT_FOLDERS = ("database/cutouts", "cutouts", ".")
QUERY_FOLDERS = ("query/iphone7", "queries/iphone7", "iphone7")
RECORDS = Path("sensors") / "records_data"
PHOTO = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)
PHONE = "iphone7"


@dataclass(frozen=True)
class _Cutout:
    """A cutout whose scan can be placed: its name in the map, and its photo."""

    name: str
    photo: Path
    size_wh: tuple[int, int]


def plan_inloc(request: PreparationRequest) -> list[ScenePlan]:
    """The plan of the whole release.

    Raises:
        InputError: no cutouts, alignments or queries; names what was looked for.
    """
    raw, out = request.raw, request.out
    cutouts_folder = next(
        (raw / name for name in CUTOUT_FOLDERS if (raw / name / BUILDINGS[0]).is_dir()), None
    )
    if cutouts_folder is None:
        places = ", ".join(f"{name}/{BUILDINGS[0]}" for name in CUTOUT_FOLDERS)
        raise InputError(f"{raw} holds no cutouts: looked for {places}", "unpack the release's cutouts there")
    query_folder = first_existing(raw, QUERY_FOLDERS)
    if query_folder is None:
        raise InputError(f"{raw} holds no queries: looked for {', '.join(QUERY_FOLDERS)}")
    alignments = {building: find_alignment(raw, building) for building in BUILDINGS}
    cutouts, pieces, problems = _cutouts(cutouts_folder, out / "mapping", alignments)
    queries = sorted(path for path in query_folder.iterdir() if PHOTO.search(path.name))
    query_pieces = [
        Piece(inside(out / "query" / RECORDS / PHONE, path.name), place_file, RawFile(path))
        for path in queries
    ]
    if request.cutout_poses:
        pieces += [_pose_piece(out, cutout, alignments) for cutout in cutouts]
    return [
        ScenePlan(
            "",
            [*pieces, *query_pieces],
            [
                *(partial(_write_alignment, out, name, found) for name, found in alignments.items()),
                partial(_write_map, out, cutouts),
                partial(_write_queries, out / "query"),
            ],
            queries={f"{PHONE}/{path.name}": out / "query" / RECORDS / PHONE / path.name for path in queries},
            map_photos={cutout.name: out / "mapping" / RECORDS / cutout.name for cutout in cutouts},
            pairs_folder=out / "pairfiles" / "query",
            expression=lambda pairs: f"VislocInLoc({str(out)!r}, pairsfile={pairs!r}, topk=20)",
            problems=problems,
        )
    ]


def _cutouts(
    folder: Path, out: Path, alignments: Mapping[str, ScanAlignments]
) -> tuple[list[_Cutout], list[Piece], dict[str, str]]:
    """The cutouts that can be used, all files to place, and scans that no alignment places."""
    cutouts: list[_Cutout] = []
    pieces: list[Piece] = []
    problems: dict[str, str] = {}
    for building in BUILDINGS:
        if not (folder / building).is_dir():
            problems[building] = f"not found: {folder / building}"
            continue
        for photo in sorted(path for path in (folder / building).glob("*/*") if PHOTO.search(path.name)):
            name = f"{building}/{photo.parent.name}/{photo.name}"
            target = inside(out / RECORDS, name)
            if photo.parent.name not in alignments[building].transforms:
                problems[f"{building}/{photo.parent.name}"] = (
                    f"the scan {photo.parent.name} is not in {alignments[building].source}"
                )
                continue
            scan = photo.with_name(f"{photo.name}.mat")
            found = "" if scan.is_file() else f"not found: {scan}"
            pieces += [
                Piece(target, place_file, RawFile(photo), found and f"its scan is missing: {scan}"),
                Piece(target.with_name(f"{photo.name}.mat"), place_file, RawFile(scan), found),
            ]
            if not found:
                try:
                    cutouts.append(_Cutout(name, photo, photo_size(photo)))
                except ImageError as error:
                    problems[name] = str(error)
    return cutouts, pieces, problems


def _pose_piece(out: Path, cutout: _Cutout, alignments: Mapping[str, ScanAlignments]) -> Piece:
    building, scan, _ = cutout.name.split("/")
    job = CutoutPoseJob(
        cutout.photo.with_name(f"{cutout.photo.name}.mat"), alignments[building].transforms[scan]
    )
    return Piece(_pose_path(out, cutout), write_cutout_pose, job)


def _pose_path(out: Path, cutout: _Cutout) -> Path:
    """Where the pose of a cutout is kept between runs."""
    return out / "mapping" / ".poses" / f"{cutout.name}.txt"


def _write_alignment(out: Path, building: str, alignments: ScanAlignments) -> list[Path]:
    target = out / "mapping" / f"{building}_alignment" / "all_transformations.txt"
    return write_lines(target, alignments.lines())


def _write_map(out: Path, cutouts: Sequence[_Cutout]) -> list[Path]:
    """kapture's lists of the map; cutouts of one size share a camera, whose focal length is measured."""
    ready = [cutout for cutout in cutouts if (out / "mapping" / RECORDS / cutout.name).is_file()]
    if not ready:
        raise InputError("no cutout has a photo, a scan and an alignment: there is no map")
    sensors: dict[tuple[int, int], KaptureSensor] = {}
    for size_wh in dict.fromkeys(cutout.size_wh for cutout in ready):
        scans = [
            cutout.photo.with_name(f"{cutout.photo.name}.mat")
            for cutout in ready
            if cutout.size_wh == size_wh
        ]
        name = "cutouts" if not sensors else f"cutouts_{size_wh[0]}x{size_wh[1]}"
        params = (measure_focal(scans, size_wh), size_wh[0] / 2, size_wh[1] / 2)
        sensors[size_wh] = KaptureSensor(name, "SIMPLE_PINHOLE", size_wh, params, name=name)
    poses = [
        DevicePose(time, sensors[cutout.size_wh].sensor, pose)
        for time, cutout in enumerate(ready)
        if (pose := read_cutout_pose(_pose_path(out, cutout))) is not None
    ]
    photos = [
        KaptureRecord(time, sensors[cutout.size_wh].sensor, cutout.name) for time, cutout in enumerate(ready)
    ]
    return write_kapture(out / "mapping", KaptureLists(list(sensors.values()), photos, poses))


def _write_queries(folder: Path) -> list[Path]:
    """kapture's lists of the queries; photos of equal size and focal length share a camera."""
    sensors: dict[tuple[int, int, float], KaptureSensor] = {}
    records = []
    photos = folder / RECORDS / PHONE
    for time, path in enumerate(sorted(path for path in photos.glob("*") if PHOTO.search(path.name))):
        size_wh = photo_size(path)
        key = *size_wh, phone_focal(path, size_wh)
        params = (key[2], size_wh[0] / 2, size_wh[1] / 2)
        sensor = sensors.setdefault(
            key, KaptureSensor(f"iphone{len(sensors)}", "SIMPLE_PINHOLE", size_wh, params, name=PHONE)
        )
        records.append(KaptureRecord(time, sensor.sensor, f"{PHONE}/{path.name}"))
    if not records:
        raise InputError(f"{photos} holds no queries", "expected photos such as IMG_0731.JPG")
    return write_kapture(folder, KaptureLists(list(sensors.values()), records))
