"""``mast3r visloc prepare``: the request, the run, and what is said about it (spec 50 D8, 60 F2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import AsymmetricCroCo3DStereo
from mast3r_model.cli import CommandContext

from .contract import CandidateFinder, PairMatcher, PreparationReport, PreparationRequest
from .prepare import prepare

NAMED_AT_MOST = 10


@dataclass(frozen=True)
class PrepareNetwork:
    """The network, for the two things that need one.

    Attributes:
        load: loads it; called only if it is needed.
        retrieval: retriever for query pairs (``encoder``, or the path of a retrieval checkpoint), or None: no
            pairs are made.
        topk: map images for each query.
    """

    load: Callable[[], AsymmetricCroCo3DStereo]
    retrieval: str | None = None
    topk: int = 20


def run_prepare(
    context: CommandContext, request: PreparationRequest, network: PrepareNetwork
) -> PreparationReport:
    """Prepare, and say what was done, what is missing (exit code 3 then), and what to run next.

    Raises:
        Mast3rError: see `prepare`.
    """
    match, finder = _network_parts(context, request, network)
    with context.timed("prepare"):
        report = prepare(request, match=match, find_candidates=finder, track=context.track)
    context.result(
        benchmark=report.benchmark,
        out=report.out,
        complete=report.complete,
        scenes=list(report.scenes),
        absent_scenes=list(report.absent_scenes),
        linked=report.linked,
        copied=report.copied,
        made=report.made,
        kept=report.kept,
        problems=dict(report.problems),
        missing_pairs=dict(report.missing_pairs),
        expressions=list(report.expressions),
    )
    _say(context, report)
    return report


def _network_parts(
    context: CommandContext, request: PreparationRequest, network: PrepareNetwork
) -> tuple[PairMatcher | None, CandidateFinder | None]:
    """Load the network if something needs it."""
    triangulates = request.benchmark == "cambridge" and request.points == "triangulate"
    if not triangulates and network.retrieval is None:
        return None, None
    from mast3r_match import make_retriever

    from .network import NetworkMatcher, retrieval_candidates

    model = network.load()
    match = NetworkMatcher(model, context.track) if triangulates else None
    if network.retrieval is None:
        return match, None
    retriever = make_retriever(network.retrieval, model)
    label = Path(network.retrieval).stem
    return match, retrieval_candidates(retriever, label, topk=network.topk, track=context.track)


def _say(context: CommandContext, report: PreparationReport) -> None:
    scenes = f" ({', '.join(report.scenes)})" if report.scenes else ""
    context.say(f"{report.benchmark}{scenes}: {report.out}")
    context.say(
        f"  {report.linked:,} files linked (they share the raw files' bytes), {report.copied:,} copied, "
        f"{report.made:,} made, {report.kept:,} were there"
    )
    if report.absent_scenes:
        context.note(f"not in the raw folder: {', '.join(report.absent_scenes)}")
    if report.problems:
        context.partial(f"{len(report.problems):,} files could not be made, such as:")
        for name, problem in list(report.problems.items())[:NAMED_AT_MOST]:
            context.say(f"  {name}: {problem}")
        if len(report.problems) > NAMED_AT_MOST:
            context.say("  ... all of them with --json")
    for scene, place in report.missing_pairs.items():
        context.partial(
            f"{scene} has no query pairs ({place}): run this again with --pairs FILE or --retrieval encoder"
        )
    if report.expressions:
        context.note(f'next: mast3r visloc evaluate "{report.expressions[0]}"')
