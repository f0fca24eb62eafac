"""What ``mast3r visloc localize`` does: a map and photos in, poses out (spec 50 D7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_match import find_photos
from mast3r_model import ImageError, InputError, NothingFoundError
from mast3r_model.cli import CommandContext, ModelOptions
from mast3r_visloc.cameras import Camera, parse_camera
from mast3r_visloc.datasets import Candidate, Query
from mast3r_visloc.evaluation import (
    QueryRecord,
    RunFiles,
    RunWriter,
    match_path,
    read_matches,
    read_poses,
    read_truth,
    result_line,
    summary_line,
)
from mast3r_visloc.evaluation.names import NameStyle
from mast3r_visloc.evaluation.pose_files import OnFailure
from mast3r_visloc.formats import read_pairs, read_query_list
from mast3r_visloc.localizing import LocalizationOptions, Localizer
from mast3r_visloc.maps import LocalizationMap, read_map, write_localized_model
from mast3r_visloc.poses import Pose

from .matching_flags import MatchingFlags

LISTED = "file:"


@dataclass(frozen=True)
class LocalizeRequest:
    """The flags of the command; their help texts say what they are."""

    map: Path
    photos: tuple[Path, ...]
    images: Path | None
    recursive: bool
    camera: str | None
    camera_from: str | None
    camera_id: int | None
    queries: tuple[Path, ...]
    retrieval: str
    prior: Path | None
    radius: float | None
    truth: Path | None
    name_style: NameStyle
    on_failure: OnFailure
    report: bool
    jobs: int
    output: Path | None
    overwrite: bool
    matching: MatchingFlags


def run_localize(context: CommandContext, request: LocalizeRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    listed = request.retrieval.removeprefix(LISTED) if request.retrieval.startswith(LISTED) else None
    options = request.matching.options(model_options, retrieval="pairs" if listed else request.retrieval)
    with context.timed("read"):
        localization_map = read_map(request.map, images=request.images)
        queries = _queries(request, localization_map)
        pairs = None if listed is None else _pairs(Path(listed))
        priors = None if request.prior is None else read_poses(request.prior)
    context.note(
        f"map: {localization_map.kind}, {len(localization_map):,} photos; {len(queries):,} to localise"
    )
    model = model_options.load(context)
    with (
        context.progress("map photos", len(localization_map)) as advance,
        Localizer(
            localization_map,
            model,
            options,
            pairs=pairs,
            priors=priors,
            radius=request.radius,
            progress=advance,
        ) as localizer,
    ):
        records = _localize(context, request, localizer, queries)
    _report(context, request, records, len(queries))


def _queries(request: LocalizeRequest, localization_map: LocalizationMap) -> list[Query]:
    """The photos with their names, cameras and, where known, true poses."""
    cameras = read_query_list(request.queries) if request.queries else {}
    named = _named_photos(request, cameras)
    names = list(named)
    known = _by_name(cameras, names)
    if request.queries and request.photos and not known:
        raise InputError(
            f"{request.queries[0]} names none of the photos",
            f"it names {next(iter(cameras), 'nothing')}, ...",
        )
    shared = _shared_camera(request, localization_map)
    truth = {} if request.truth is None else read_truth(request.truth).of(names)
    return [Query(name, path, known.get(name, shared), truth.get(name)) for name, path in named.items()]


def _named_photos(request: LocalizeRequest, cameras: Mapping[str, Camera]) -> dict[str, Path]:
    """Photos by name: as short as the names of all of them stay different.

    Raises:
        InputError: no photo at all.
    """
    if not request.photos:
        folder = request.queries[0].parent if request.queries else Path()
        return {name: folder / name for name in cameras}
    photos = find_photos(list(request.photos), recursive=request.recursive)
    short = [photo.name for photo in photos]
    if len(set(short)) == len(short):
        return dict(zip(short, photos, strict=True))
    folders = [photo for photo in request.photos if photo.is_dir()]
    if len(folders) == 1 and len(request.photos) == 1:
        return {photo.relative_to(folders[0]).as_posix(): photo for photo in photos}
    return {str(photo): photo for photo in photos}


def _by_name(cameras: Mapping[str, Camera], names: Sequence[str]) -> dict[str, Camera]:
    """Cameras of photos by the listed name, else by the file's name where only one has it."""
    short: dict[str, list[Camera]] = {}
    for listed, camera in cameras.items():
        short.setdefault(Path(listed).name, []).append(camera)
    found = {}
    for name in names:
        if name in cameras:
            found[name] = cameras[name]
        elif len(short.get(Path(name).name, [])) == 1:
            found[name] = short[Path(name).name][0]
    return found


def _shared_camera(request: LocalizeRequest, localization_map: LocalizationMap) -> Camera | None:
    """The camera that took all photos, if the user says which.

    Raises:
        InputError: more than one is given, or the map has no such photo or camera.
    """
    given = [request.camera, request.camera_from, request.camera_id]
    if sum(value is not None for value in given) > 1:
        raise InputError("--camera, --camera-from and --camera-id all name the camera", "give one of them")
    if request.camera is not None:
        return parse_camera(request.camera)
    if request.camera_from is not None:
        number = localization_map.index_of.get(request.camera_from)
        camera = None if number is None else localization_map.images[number].camera
        if camera is None:
            known = next(
                (image.name for image in localization_map.images if image.camera is not None), "none"
            )
            raise InputError(
                f"the map has no photo {request.camera_from!r} with a camera", f"a photo there: {known}"
            )
        return camera
    if request.camera_id is not None:
        return _camera_of_model(localization_map, request.camera_id)
    return None


def _camera_of_model(localization_map: LocalizationMap, camera_id: int) -> Camera:
    from mast3r_visloc.maps import open_colmap_model

    if localization_map.colmap_model is None:
        raise InputError(
            f"--camera-id needs a COLMAP model, got a {localization_map.kind}", "use --camera-from"
        )
    cameras = open_colmap_model(localization_map.colmap_model).cameras
    if camera_id not in cameras:
        raise InputError(f"the map has no camera {camera_id}", f"its cameras: {sorted(cameras)[:20]}")
    return Camera.from_colmap(cameras[camera_id])


def _pairs(path: Path) -> dict[str, list[Candidate]]:
    return {
        query: [Candidate(pair.map_image, pair.score) for pair in pairs]
        for query, pairs in read_pairs(path).items()
    }


def _localize(
    context: CommandContext, request: LocalizeRequest, localizer: Localizer, queries: Sequence[Query]
) -> list[QueryRecord]:
    """Localise what is not done yet, writing as it goes if there is an output folder."""
    width = max((len(query.name) for query in queries), default=0)
    if request.output is None:
        records = []
        for index, (query, pose) in enumerate(_poses(context, request, localizer, queries)):
            _say(context, pose, localizer.options, width)
            records.append(
                QueryRecord.from_pose(query.name, pose, index=index, position=index, error=None, nearest=None)
            )
        return records
    with RunWriter(
        request.output,
        _noted(request, localizer.options),
        name=request.output.name,
        files=_files(request, localizer.map),
        overwrite=request.overwrite,
    ) as run:
        todo = [query for query in queries if query.name not in run.done]
        if len(todo) < len(queries):
            context.note(f"{len(queries) - len(todo)} of {len(queries)} photos are done already")
        for query, pose in _poses(context, request, localizer, todo):
            run.add(query, pose, nearest_pose=_nearest(localizer.map, pose))
            _say(context, pose, localizer.options, width)
    if request.truth is not None:
        context.say(summary_line(run.summary))
    with context.timed("write"):
        _write_model(request.output, localizer.map, run.records)
    return list(run.records)


def _poses(
    context: CommandContext, request: LocalizeRequest, localizer: Localizer, queries: Sequence[Query]
) -> Iterator[tuple[Query, Pose]]:
    def unreadable(query: Query, error: ImageError) -> None:
        context.partial(f"skipped: {error.message}")

    with context.timed("localise"):
        found = localizer.localize_many(queries, jobs=request.jobs, on_unreadable=unreadable)
        yield from context.track(found, "localising", len(queries))


def _say(context: CommandContext, pose: Pose, options: LocalizationOptions, width: int) -> None:
    context.say(result_line(pose, min_inliers=options.min_inliers, name_width=width))
    for warning in pose.warnings:
        context.warn(f"{pose.name}: {warning}")


def _nearest(localization_map: LocalizationMap, pose: Pose) -> Float[np.ndarray, "4 4"] | None:
    if not pose.candidates:
        return None
    return localization_map.images[localization_map.index_of[pose.candidates[0]]].cam2world


def _files(request: LocalizeRequest, localization_map: LocalizationMap) -> RunFiles:
    return RunFiles(
        name_style=request.name_style,
        on_failure=request.on_failure,
        page=request.report,
        map_paths={image.name: image.path for image in localization_map.images} if request.report else None,
    )


def _noted(request: LocalizeRequest, options: LocalizationOptions) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "map": str(request.map.absolute()),
        **dataclasses.asdict(options),
        "retrieval": request.retrieval,
        "camera": request.camera,
        "camera_from": request.camera_from,
        "camera_id": request.camera_id,
        "queries": [str(path) for path in request.queries],
        "truth": None if request.truth is None else str(request.truth),
    }


def _write_model(folder: Path, localization_map: LocalizationMap, records: Sequence[QueryRecord]) -> None:
    """The map with the localised photos in it, read back one at a time."""

    def poses() -> Iterator[Pose]:
        for record in records:
            if record.cam2world is not None:
                yield Pose(
                    record.name,
                    True,
                    np.array(record.cam2world),
                    record.camera,
                    record.camera_source,
                    record.num_inliers,
                    record.candidates,
                    read_matches(match_path(folder, record.index)),
                    record.method,
                )

    if any(record.success for record in records):
        write_localized_model(localization_map, poses(), folder / "colmap")


def _report(
    context: CommandContext, request: LocalizeRequest, records: Sequence[QueryRecord], count: int
) -> None:
    """Say what was found.

    Raises:
        NothingFoundError: no photo was localised.
    """
    localised = sum(record.success for record in records)
    context.result(map=request.map, output=request.output, queries=[record.to_json() for record in records])
    if request.output is not None:
        context.note(f"written: {request.output} (poses.txt, report.json, report.html, colmap/, matches/)")
    if not localised:
        reasons = ", ".join(sorted({str(record.reason) for record in records})) or "no photo could be read"
        raise NothingFoundError(
            f"none of {count} photos was localised ({reasons})",
            "photos that show the mapped place match better; try --retrieval all, --exhaustive, --fine, "
            "--min-confidence 0, or a larger --model",
        )
    if localised < count:
        context.partial(f"{count - localised} of {count} photos were not localised")
    if request.output is not None:
        context.note(f"next: open {request.output / 'report.html'}")
