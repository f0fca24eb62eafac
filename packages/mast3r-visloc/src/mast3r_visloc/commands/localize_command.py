"""What ``mast3r visloc localize`` does: a map and photos in, poses out (spec 50 D7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError, NothingFoundError
from mast3r_model.cli import CommandContext, ModelOptions
from mast3r_visloc.datasets import Query
from mast3r_visloc.evaluation import (
    QueryRecord,
    RunFiles,
    RunWriter,
    match_path,
    query_error,
    read_matches,
    result_line,
    summarize,
    summary_line,
)
from mast3r_visloc.evaluation.lines import Horizon
from mast3r_visloc.evaluation.names import NameStyle
from mast3r_visloc.evaluation.pose_files import OnFailure
from mast3r_visloc.localizing import LocalizationOptions, Localizer
from mast3r_visloc.maps import LocalizationMap, read_map, write_localized_model
from mast3r_visloc.poses import Pose

from .localize_queries import find_queries
from .matching_flags import MatchingFlags
from .output_folder import check_output
from .rehearsal import rehearse
from .retrieval_choice import choose_retrieval


@dataclass(frozen=True)
class LocalizeRequest:
    """The flags of the command; their help texts say what they are."""

    map: Path
    photos: tuple[Path, ...]
    images: Path | None
    recursive: bool
    strict: bool
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
    dry_run: bool
    jobs: int
    output: Path | None
    overwrite: bool
    matching: MatchingFlags


def run_localize(context: CommandContext, request: LocalizeRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    request.matching.check()
    with context.timed("read"):
        matching = request.matching
        localization_map = read_map(
            request.map, images=request.images, need_points=not (matching.align or matching.densify)
        )
        queries = find_queries(request, localization_map)
        retrieval = choose_retrieval(
            request.retrieval,
            {query.name: query.path for query in queries},
            localization_map,
            model=model_options.model,
            prior=request.prior,
            radius=request.radius,
        )
    options = matching.options(model_options, retrieval=retrieval.name)
    noted = _noted(request, options, model_options.model)
    check_output(request.output, localization_map, noted, overwrite=request.overwrite)
    context.note(
        f"map: {localization_map.kind}, {len(localization_map):,} photos; {len(queries):,} to localise"
    )
    if retrieval.note is not None:
        context.note(retrieval.note)
    for note in matching.unused():
        context.note(note)
    model = model_options.load(context)
    if request.dry_run:
        rehearse(context, localization_map, queries, model, options)
        return
    with (
        context.progress("map photos", len(localization_map)) as advance,
        Localizer(
            localization_map,
            model,
            options,
            pairs=retrieval.pairs,
            priors=retrieval.priors,
            radius=request.radius,
            progress=advance,
        ) as localizer,
    ):
        records = _localize(context, request, localizer, queries, noted, retrieval.horizon)
    _report(context, request, records, len(queries))


def _localize(
    context: CommandContext,
    request: LocalizeRequest,
    localizer: Localizer,
    queries: Sequence[Query],
    noted: Mapping[str, Any],
    horizon: Horizon | None,
) -> list[QueryRecord]:
    """Localise what is not done yet, writing as it goes if there is an output folder."""
    width = max((len(query.name) for query in queries), default=0)
    if request.output is None:
        records = []
        for index, (query, pose) in enumerate(_poses(context, request, localizer, queries)):
            _say(context, pose, localizer.options, width, horizon)
            error = query_error(pose.cam2world if pose.success else None, query.cam2world)
            records.append(
                QueryRecord.from_pose(
                    query.name, pose, index=index, position=index, error=error, nearest=None
                )
            )
            context.item(records[-1].to_json())
        return records
    with RunWriter(
        request.output,
        noted,
        name=request.output.name,
        files=_files(request, localizer.map),
        overwrite=request.overwrite,
    ) as run:
        todo = [query for query in queries if query.name not in run.done]
        if len(todo) < len(queries):
            context.note(f"{len(queries) - len(todo)} of {len(queries)} photos are done already")
        for record in run.records:
            context.item(record.to_json())
        for query, pose in _poses(context, request, localizer, todo):
            record = run.add(query, pose, nearest_pose=_nearest(localizer.map, pose))
            context.item(record.to_json())
            _say(context, pose, localizer.options, width, horizon)
    with context.timed("write"):
        _write_model(request.output, localizer.map, run.records)
    return list(run.records)


def _poses(
    context: CommandContext, request: LocalizeRequest, localizer: Localizer, queries: Sequence[Query]
) -> Iterator[tuple[Query, Pose]]:
    def unreadable(query: Query, error: InputError) -> None:
        context.partial(f"skipped: {error.message}")

    with context.timed("localise"):
        found = localizer.localize_queries(
            queries, jobs=request.jobs, on_unreadable=None if request.strict else unreadable
        )
        yield from context.track(found, "localising", len(queries))


def _say(
    context: CommandContext, pose: Pose, options: LocalizationOptions, width: int, horizon: Horizon | None
) -> None:
    context.say(result_line(pose, min_inliers=options.min_inliers, horizon=horizon, name_width=width))
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


def _noted(request: LocalizeRequest, options: LocalizationOptions, model_name: str) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "map": str(request.map.absolute()),
        "model": model_name,
        **dataclasses.asdict(options),
        "retrieval": request.retrieval,
        "camera": request.camera,
        "camera_from": request.camera_from,
        "camera_id": request.camera_id,
        "prior": None if request.prior is None else str(request.prior),
        "radius": request.radius,
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
    context.result(map=request.map, output=request.output)
    if request.truth is not None:
        summary = summarize(request.map.name, (record.error for record in records), localised=localised)
        context.say(summary_line(summary))
        context.result(summary=summary)
    if request.output is not None:
        context.note(f"written: {request.output} (poses.txt, report.json, report.html, colmap/, matches/)")
    if not records:
        raise NothingFoundError(
            f"none of {count} photos was localised (no photo could be read, or none fits its camera)",
            "see the warnings above",
        )
    if not localised:
        reasons = ", ".join(sorted({str(record.reason) for record in records}))
        raise NothingFoundError(
            f"none of {count} photos was localised ({reasons})",
            "photos that show the mapped place match better; try --retrieval all, --exhaustive, --fine, "
            "--min-confidence 0, or a larger --model",
        )
    if localised < count:
        context.partial(f"{count - localised} of {count} photos were not localised")
    if request.output is not None:
        context.note(f"next: open {request.output / 'report.html'}")
