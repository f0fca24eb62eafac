"""Cambridge Landmarks: VisualSFM's model split into a map and queries (spec 50 D8).

Raw, for every scene: ``reconstruction.nvm`` (its photos are named .jpg, the files are .png),
``dataset_train.txt``, ``dataset_test.txt`` (three header lines, then ``name x y z qw qx qy qz``) and
``seq1/frame00001.png`` and so on. The raw folder is the one that holds the scenes, or one scene. The NVM's
cameras are used: they have the focal lengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from mast3r_model import ImageError, InputError

from .contract import PairMatcher, Piece, PreparationRequest, ScenePlan
from .kapture_writing import DevicePose, KaptureLists, KaptureRecord, KaptureSensor, write_kapture
from .nvm import NvmCamera, read_nvm_cameras
from .nvm_models import PosedPhoto, write_nvm_model
from .placing import RawFile, inside, photo_size, place_file, read_lines
from .scenes import scene_folders
from .triangulating import write_triangulated_model

SCENES = ("ShopFacade", "GreatCourt", "KingsCollege", "OldHospital", "StMarysChurch")
NVM = "reconstruction.nvm"
SPLITS = {"mapping": "dataset_train.txt", "query": "dataset_test.txt"}


@dataclass(frozen=True)
class _Split:
    """The photos of a split that can be used, by name, and what is wrong with the others."""

    photos: Mapping[str, PosedPhoto]
    problems: Mapping[str, str]


def plan_cambridge(request: PreparationRequest, match: PairMatcher | None = None) -> list[ScenePlan]:
    """The plan of every scene that is there.

    Args:
        request: what the user asks for.
        match: matches photos, for ``--points triangulate``.

    Raises:
        InputError: the raw folder holds none of the scenes, or not one that was asked for; triangulation
            without a matcher.
    """
    if request.points == "triangulate" and match is None:
        raise InputError("points can only be triangulated with a network that matches photos")
    folders = scene_folders(request.raw, SCENES, request.scenes, (NVM, *SPLITS.values()))
    return [_plan_scene(scene, folder, request, match) for scene, folder in folders.items()]


def _plan_scene(scene: str, raw: Path, request: PreparationRequest, match: PairMatcher | None) -> ScenePlan:
    out = request.out
    cameras = read_nvm_cameras(raw / NVM)
    by_name = {str(PurePosixPath(camera.name).with_suffix("")): row for row, camera in enumerate(cameras)}
    splits = {part: _read_split(raw, raw / name, cameras, by_name) for part, name in SPLITS.items()}
    photos_folder = out / scene
    problems = {name: text for split in splits.values() for name, text in split.problems.items()}
    pieces = [Piece(inside(photos_folder, name), problem=text) for name, text in problems.items()]
    pieces += [
        Piece(inside(photos_folder, name), place_file, RawFile(raw / name))
        for name in {name: None for split in splits.values() for name in split.photos}
    ]
    model = out / "mapping" / scene / "colmap" / "reconstruction"
    mapped = list(splits["mapping"].photos.values())
    if match is None or request.points == "nvm":
        write_model = partial(write_nvm_model, model, raw / NVM, mapped)
    else:
        write_model = partial(
            write_triangulated_model, model, raw / NVM, mapped, photos_folder, match, request.neighbours
        )
    return ScenePlan(
        scene,
        pieces,
        [write_model, partial(_write_queries, out / "kapture" / scene / "query", splits["query"].photos)],
        queries={name: photos_folder / name for name in splits["query"].photos},
        map_photos={name: photos_folder / name for name in splits["mapping"].photos},
        pairs_folder=photos_folder / "pairsfile" / "query",
        expression=lambda pairs: (
            f"VislocCambridgeLandmarks({str(out)!r}, subscene={scene!r}, pairsfile={pairs!r}, topk=20)"
        ),
    )


def _read_split(raw: Path, path: Path, cameras: Sequence[NvmCamera], by_name: Mapping[str, int]) -> _Split:
    """The photos of a list that have a camera and a file."""
    photos: dict[str, PosedPhoto] = {}
    problems: dict[str, str] = {}
    for name in _split_names(path):
        row = by_name.get(str(PurePosixPath(name).with_suffix("")))
        if row is None:
            problems[name] = f"{path} lists {name}, which has no camera in {raw / NVM}"
        elif not inside(raw, name).is_file():
            problems[name] = f"not found: {raw / name}"
        else:
            try:
                photos[name] = PosedPhoto(name, row, cameras[row], photo_size(raw / name))
            except ImageError as error:
                problems[name] = str(error)
    return _Split(photos, problems)


def _split_names(path: Path) -> list[str]:
    """First column of the lines that hold a name and seven numbers; headers are others."""
    names = []
    for fields in (line.split() for line in read_lines(path)):
        try:
            if len(fields) == 8 and all(float(field) is not None for field in fields[1:]):
                names.append(fields[0])
        except ValueError:
            continue
    if not names:
        raise InputError(f"{path} lists no photo", "expected lines: name x y z qw qx qy qz")
    return names


def _write_queries(folder: Path, photos: Mapping[str, PosedPhoto]) -> list[Path]:
    """kapture's lists of the queries with their true poses, a sensor for each."""
    numbered = list(enumerate(photos.values()))
    return write_kapture(
        folder,
        KaptureLists(
            sensors=[
                KaptureSensor(f"cam{time:05d}", "SIMPLE_RADIAL", photo.size_wh, photo.params)
                for time, photo in numbered
            ],
            photos=[KaptureRecord(time, f"cam{time:05d}", photo.name) for time, photo in numbered],
            poses=[DevicePose(time, f"cam{time:05d}", photo.camera.world2cam) for time, photo in numbered],
        ),
    )
