"""What ``mast3r visloc evaluate`` does: a benchmark's queries localised, and the table (spec 50 A, D6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mast3r_model import ConfigError, InputError, NothingFoundError, parse_expression
from mast3r_model.cli import CommandContext, ModelOptions
from mast3r_visloc.datasets import LocalizationDataset, Query
from mast3r_visloc.evaluate import EvaluationReport, Shard, chosen_queries, evaluate, noted_options
from mast3r_visloc.evaluation import RunFiles, parse_thresholds, result_label, result_line, summary_line
from mast3r_visloc.evaluation.names import NameStyle
from mast3r_visloc.evaluation.pose_files import OnFailure
from mast3r_visloc.poses import Pose

from .compare_runs import compare_runs, say_table
from .matching_flags import MatchingFlags
from .output_folder import check_output
from .rehearsal import rehearse
from .retrieval_choice import RetrievalChoice, choose_retrieval


@dataclass(frozen=True)
class EvaluateRequest:
    """The flags of the command; their help texts say what they are."""

    data: tuple[str, ...]
    truth: Path | None
    thresholds: str | None
    parity: bool
    matcher: Literal["descriptors", "points3d"]
    limit: int | None
    shard: str | None
    label: str
    retrieval: str | None
    prior: Path | None
    radius: float | None
    name_style: NameStyle
    on_failure: OnFailure | None
    report: bool
    dry_run: bool
    jobs: int
    output: Path | None
    overwrite: bool
    matching: MatchingFlags


def run_evaluate(context: CommandContext, request: EvaluateRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    thresholds = None if request.thresholds is None else parse_thresholds(request.thresholds)
    if any(_exists(given) for given in request.data):
        compare_runs(context, [Path(given) for given in request.data], request.truth, thresholds)
        return
    _check(request)
    request.matching.check()
    parity = request.matching.reference(model_options, request.matcher) if request.parity else None
    shard = _shard(request.shard)
    dataset = _dataset(request.data[0])
    queries = [query for _, query in chosen_queries(dataset, request.limit, shard)]
    retrieval = _retrieval(request, dataset, queries, model_options.model)
    options = request.matching.options(model_options, retrieval=retrieval.name)
    made_with = _made_with(request, model_options)
    noted = noted_options(
        dataset, options, parity, retrieve=request.retrieval is not None, shard=shard, made_with=made_with
    )
    check_output(request.output, dataset.map, noted, overwrite=request.overwrite)
    for note in (*request.matching.unused(), *([retrieval.note] if retrieval.note else [])):
        context.note(note)
    model = model_options.load(context)
    if request.dry_run:
        rehearse(context, dataset.map, queries, model, options)
        return
    if request.parity and "jobs" in request.matching.given:
        context.note("--jobs is not used: --parity localises one query after the other, as upstream")
    min_inliers = 1 if request.parity else request.matching.min_inliers
    with context.timed("localise"), context.progress("localising", len(queries)) as advance:

        def show(query: Query, pose: Pose) -> None:
            context.say(result_line(pose, min_inliers=min_inliers, horizon=retrieval.horizon))
            for warning in pose.warnings:
                context.warn(f"{pose.name}: {warning}")
            advance(1)

        report = evaluate(
            dataset,
            model,
            options=options,
            retrieve=request.retrieval is not None,
            parity=parity,
            thresholds=thresholds,
            output=request.output,
            files=_files(request, dataset),
            limit=request.limit,
            shard=shard,
            jobs=request.jobs,
            overwrite=request.overwrite,
            made_with=made_with,
            on_pose=show,
            on_record=lambda record: context.item(record.to_json()),
            pairs=retrieval.pairs,
            priors=retrieval.priors,
            radius=request.radius,
        )
    _report(context, request, report)


def _exists(given: str) -> bool:
    """Whether what was given is a path; an expression may be too long to ask for."""
    try:
        return Path(given).exists()
    except OSError:
        return False


def _check(request: EvaluateRequest) -> None:
    """Refuse flags that do not fit each other.

    Raises:
        InputError: something that is neither a dataset expression nor a path that is there.
        ConfigError: a flag that means nothing here.
    """
    gone = [given for given in request.data if "(" not in given]
    if gone:
        raise InputError(
            f"{gone[0]} is neither a dataset expression nor a run or file of poses that is there",
            "check the path; an expression is like \"RgbdFolder('/data/room', queries='list.txt')\"",
        )
    if len(request.data) != 1:
        raise InputError(f"expected one dataset expression, got {len(request.data)}", "put it in quotes")
    if request.truth is not None:
        raise ConfigError("--truth is for files of poses: a dataset knows its own truth", "leave it out")
    if request.matcher == "points3d" and not request.parity:
        raise ConfigError(
            "--matcher points3d is DUSt3R's script: it needs --parity",
            "without, networks that have no descriptors are matched by their points anyhow",
        )
    if request.parity and request.retrieval is not None:
        raise ConfigError("--parity takes the dataset's pairs", "leave out --retrieval")
    if request.parity and request.dry_run:
        raise ConfigError(
            "--dry-run estimates our own way, not upstream's", "leave out --parity or --dry-run"
        )
    if request.retrieval is None and request.matching.topk is not None:
        raise ConfigError(
            "--topk is of --retrieval: the dataset says how many of its pairs to try",
            "write topk=N into the expression",
        )


def _dataset(text: str) -> LocalizationDataset:
    """Build what an expression says.

    Raises:
        ExpressionError: it cannot be read or built.
        InputError: it is no localisation dataset.
    """
    built = parse_expression(text).build(["localization_datasets"])
    if not isinstance(built, LocalizationDataset):
        raise InputError(
            f"{text} is no localisation dataset, but a {type(built).__name__}",
            "it needs map, queries, candidates, name and thresholds",
        )
    return built


def _retrieval(
    request: EvaluateRequest, dataset: LocalizationDataset, queries: Sequence[Query], model: str
) -> RetrievalChoice:
    """The dataset's pairs, if nothing else is asked for.

    Raises:
        InputError: an unknown retriever, or a file that is missing, broken, or says nothing of a query.
        ConfigError: ``--prior`` or ``--radius`` without ``--retrieval near``.
    """
    if request.retrieval is None:
        if request.prior is not None or request.radius is not None:
            given = "--prior" if request.prior is not None else "--radius"
            raise ConfigError(f"{given} is for --retrieval near", "add --retrieval near")
        return RetrievalChoice("pairs")
    return choose_retrieval(
        request.retrieval,
        {query.name: query.path for query in queries},
        dataset.map,
        model=model,
        prior=request.prior,
        radius=request.radius,
    )


def _made_with(request: EvaluateRequest, model_options: ModelOptions) -> dict[str, str | float]:
    """What to note beside the options; what was not given is not noted."""
    noted: dict[str, str | float] = {"expression": request.data[0], "model": model_options.model}
    if request.prior is not None:
        noted["prior"] = str(request.prior)
    if request.radius is not None:
        noted["radius"] = request.radius
    return noted


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit()):
        raise InputError(f"expected a shard I/N, got {text!r}", "0/4 is the first of four")
    return Shard(int(index), int(count))


def _files(request: EvaluateRequest, dataset: LocalizationDataset) -> RunFiles:
    """Upstream's two result files are always written, under its label of the same options."""
    matching = request.matching
    pictured = request.report and request.output is not None
    return RunFiles(
        name_style=request.name_style,
        on_failure=request.on_failure or ("identity" if request.parity else "skip"),
        upstream_label=_label(request, matching),
        page=request.report,
        map_paths={image.name: image.path for image in dataset.map.images} if pictured else None,
    )


def _label(request: EvaluateRequest, matching: MatchingFlags) -> str:
    pixels, ratio = matching.upstream_threshold(default=None if request.parity else 0.008)
    confidence = matching.min_confidence
    if confidence is None:
        confidence = 3.0 if request.matcher == "points3d" else 1.001
    return result_label(
        confidence_threshold=confidence,
        pixel_tol=matching.pixel_tolerance,
        coarse_to_fine=matching.fine,
        max_image_size=matching.max_image_size,
        homography=bool(matching.homography),
        reprojection_error=pixels,
        reprojection_error_diag_ratio=ratio,
        output_label=request.label,
        matcher=request.matcher,
    )


def _report(context: CommandContext, request: EvaluateRequest, report: EvaluationReport) -> None:
    """Say what was found.

    Raises:
        NothingFoundError: no query was localised.
    """
    summary = report.summary
    for text in report.unreadable:
        context.partial(f"skipped: {text}")
    say_table(context, [summary])
    context.say(summary_line(summary))
    context.result(
        expression=request.data[0],
        summary=summary,
        output=report.folder,
        unreadable=list(report.unreadable),
    )
    if report.folder is not None:
        context.note(
            f"written: {report.folder} (poses.txt, report.json, report.html, upstream's result files)"
        )
    if not summary.localised:
        raise NothingFoundError(
            f"none of {summary.queries} queries was localised",
            "look at report.html; a larger --model, --fine or --min-confidence 0 find more",
        )
    if summary.localised < summary.queries:
        context.partial(
            f"{summary.queries - summary.localised} of {summary.queries} queries were not localised"
        )
