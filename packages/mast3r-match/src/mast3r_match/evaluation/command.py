"""What ``mast3r evaluate pairs`` does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

from mast3r_match.options import MatchOptions
from mast3r_model import InputError, NothingFoundError, atomic_write, parse_expression
from mast3r_model.cli import CommandContext, ModelOptions, refuse_existing

from .measures import PairScores, true_positions
from .posed_pairs import PairDataset, PosedPair, pairs_of_dataset, read_pair_list
from .runner import EvaluationSummary, evaluate_pairs, summarize


@dataclass(frozen=True)
class EvaluationRequest:
    """The flags of the command; their help texts say what they are."""

    data: str
    limit: int | None
    min_covisibility: float
    size: int
    symmetric: bool
    threshold: float
    output: Path | None
    overwrite: bool


def run_evaluation(context: CommandContext, request: EvaluationRequest, model_options: ModelOptions) -> None:
    """Do what the flags ask for.

    Raises:
        Mast3rError: as documented for the command's exit codes.
    """
    if request.output is not None:
        refuse_existing(request.output, overwrite=request.overwrite)
    listed = Path(request.data)
    dataset = None if listed.is_file() else _dataset(request.data)
    if dataset is None and request.min_covisibility > 0:
        raise InputError(
            f"the list {listed} knows no depth, so --min-covisibility {request.min_covisibility:g} cannot be "
            "measured",
            "leave it away, or evaluate a dataset expression",
        )
    model = model_options.load(context)
    if dataset is None:
        pairs = read_pair_list(listed, size=request.size, patch_size=model.patch_size, limit=request.limit)
        total = request.limit
    else:
        enough = (pair for pair in pairs_of_dataset(dataset) if _covisible(pair, request.min_covisibility))
        pairs = islice(enough, request.limit)
        total = len(dataset) if request.limit is None else min(request.limit, len(dataset))
    options = MatchOptions(symmetric=request.symmetric)
    with context.timed("evaluate"):
        measured = evaluate_pairs(model, pairs, options=options, threshold=request.threshold)
        scores = list(context.track(measured, "evaluating", total))
    if not scores:
        raise NothingFoundError("no pair was left to evaluate", "lower --min-covisibility")
    _report(context, request, scores, summarize(scores), model_options.model)


def _dataset(expression: str) -> PairDataset:
    """Build a dataset from its expression.

    Raises:
        InputError: the text is no expression and no file, or builds no dataset.
    """
    if not any(character in expression for character in "(@+"):
        raise InputError(
            f"no such file: {expression}",
            "give a list of pairs, or an expression such as '100 @ SyntheticScenes(resolution=(320, 240))'",
        )
    built = parse_expression(expression).build(["datasets", "transforms"])
    if not (hasattr(built, "__len__") and hasattr(built, "__getitem__")):
        raise InputError(f"{expression} is no dataset")
    if hasattr(built, "set_epoch"):
        built.set_epoch(0)
    return cast(PairDataset, built)


def _covisible(pair: PosedPair, least: float) -> bool:
    if least <= 0 or pair.depth0 is None:
        return True
    _, known, visible = true_positions(pair)
    return bool(visible.sum() >= least * known.sum())


def _report(
    context: CommandContext,
    request: EvaluationRequest,
    scores: list[PairScores],
    summary: EvaluationSummary,
    model: str,
) -> None:
    for label, value in _lines(summary):
        context.say(f"{label:<44} {value}")
    context.result(
        data=request.data,
        model=model,
        summary=summary,
        min_covisibility=request.min_covisibility,
    )
    for score in scores:
        context.item(score)
    if request.output is not None:
        document = {
            "schema": "mast3r.evaluation.pairs/1",
            "data": request.data,
            "model": model,
            "min_covisibility": request.min_covisibility,
            "summary": dataclasses.asdict(summary),
            "pairs": [dataclasses.asdict(score) for score in scores],
        }
        with atomic_write(request.output) as temporary:
            temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        context.note(f"written: {request.output}")


def _lines(summary: EvaluationSummary) -> Iterator[tuple[str, str]]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    yield "pairs", str(summary.pairs)
    yield "covisibility", share(summary.covisibility)
    yield "dense mutual matches", f"{summary.matches:.0f}"
    yield "  within 3 px of the truth", share(summary.within_3px)
    yield "rotation under 5 degrees", share(summary.rotation_under_5)
    yield "median rotation error", f"{summary.median_rotation_error:.2f} degrees"
    yield "median translation error", f"{summary.median_translation_error:.2f} degrees"
    for name, value in summary.pose_auc.items():
        yield f"pose {name.upper()}, from the matches", share(value)
    yield "rotation under 5 degrees, from the points", share(summary.pointmap_rotation_under_5)
    for name, value in summary.pointmap_pose_auc.items():
        yield f"pose {name.upper()}, from the points", share(value)
    depth = summary.depth_error
    yield "relative depth error after scaling, median", "-" if depth is None else f"{depth:.3f}"
