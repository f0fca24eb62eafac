"""The whole way from a release to the folder that a dataset class reads (spec 50 D8).

Photos and scans are second names (hard links) of the raw files where the disk allows that, else copies. Every
file gets its name only when whole, finished ones are skipped: a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mast3r_model import InputError, OutputError, nearest_names

from .aachen import plan_aachen
from .cambridge import SCENES as CAMBRIDGE_SCENES
from .cambridge import plan_cambridge
from .contract import (
    CandidateFinder,
    PairMatcher,
    Placed,
    PreparationReport,
    PreparationRequest,
    ScenePlan,
    Track,
)
from .inloc import plan_inloc
from .pairs import given_pairs, make_pairs, place_pairs
from .placing import write_lines
from .running import make_pieces, run_steps, untracked
from .sevenscenes import SCENES as SEVEN_SCENES
from .sevenscenes import plan_sevenscenes

NOTE = "mast3r_prepare.json"
"""Says in the prepared folder how it was made."""

PLANS: Mapping[str, Callable[[PreparationRequest, PairMatcher | None], list[ScenePlan]]] = {
    "aachen": lambda request, match: plan_aachen(request),
    "cambridge": plan_cambridge,
    "7scenes": lambda request, match: plan_sevenscenes(request),
    "inloc": lambda request, match: plan_inloc(request),
}
SCENES = {"cambridge": CAMBRIDGE_SCENES, "7scenes": SEVEN_SCENES}
OPTIONS = {
    "aachen": (),
    "cambridge": ("points",),
    "7scenes": ("legacy_registration",),
    "inloc": (),
}
"""What changes files that are finished: a folder is made with one value of each."""


def prepare(
    request: PreparationRequest,
    *,
    match: PairMatcher | None = None,
    find_candidates: CandidateFinder | None = None,
    track: Track = untracked,
) -> PreparationReport:
    """Prepare a benchmark::

        report = prepare(PreparationRequest("7scenes", Path("raw"), Path("data/7-scenes"), workers=8))
        report.complete, report.problems

    Args:
        request: what to prepare.
        match: matches photos, for Cambridge's triangulated points.
        find_candidates: finds query pairs for scenes that no file of pairs was given for.
        track: shows progress.

    Raises:
        InputError: the raw folder is not laid out as expected (names what was looked for), `out` lies in it
            or was prepared with other options, or an option is of another benchmark.
        OutputError: a file cannot be written; what is finished is kept.
    """
    _check(request)
    scenes = PLANS[request.benchmark](request, match)
    given = [given_pairs(request.pairs, scene, len(scenes)) for scene in scenes]
    _note_options(request)
    counts: Counter[Placed] = Counter()
    kept = 0
    problems: dict[str, str] = {}
    for scene, files in zip(scenes, given, strict=True):
        name = scene.name or request.benchmark
        made = make_pieces(
            scene.pieces, workers=request.workers, description=f"preparing {name}", track=track
        )
        lists, failed_lists = run_steps(scene.finish)
        pairs_made, wrong_pairs = _bring_pairs(scene, request, files, find_candidates)
        counts += made.counts
        counts["made"] += lists + pairs_made
        kept += made.kept
        problems |= scene.problems
        problems |= {_shown(target, request.out): text for target, text in made.problems.items()}
        problems |= _numbered(f"lists of {name}", failed_lists)
        problems |= _numbered(f"pairs of {name}", wrong_pairs)
    pairs = {scene.name: sorted(scene.pairs_folder.glob("*.txt")) for scene in scenes}
    return PreparationReport(
        benchmark=request.benchmark,
        out=request.out,
        scenes=[scene.name for scene in scenes if scene.name],
        absent_scenes=_absent(request, scenes),
        linked=counts["linked"],
        copied=counts["copied"],
        made=counts["made"],
        kept=kept,
        problems=problems,
        missing_pairs={
            scene.name or request.benchmark: str(scene.pairs_folder / "*.txt")
            for scene in scenes
            if not pairs[scene.name]
        },
        expressions=[scene.expression(path.stem) for scene in scenes for path in pairs[scene.name]],
    )


def _check(request: PreparationRequest) -> None:
    if request.benchmark not in PLANS:
        near = nearest_names(request.benchmark, list(PLANS)) or list(PLANS)
        raise InputError(f"unknown benchmark {request.benchmark!r}", f"did you mean {' or '.join(near)}?")
    if not request.raw.is_dir():
        raise InputError(f"no such folder: {request.raw}", "give the folder of the unpacked release")
    raw, out = request.raw.resolve(), request.out.resolve()
    if out == raw or raw in out.parents:
        raise InputError(f"--out {request.out} lies in the raw folder, which is never written to")
    if request.pairs is not None and not request.pairs.exists():
        raise InputError(f"no such file or folder of pairs: {request.pairs}")
    for name, value, benchmark in (
        ("legacy-registration", request.legacy_registration, "7scenes"),
        ("points triangulate", request.points != "nvm", "cambridge"),
        ("cutout-poses", request.cutout_poses, "inloc"),
        ("scene", bool(request.scenes), "cambridge or 7scenes"),
    ):
        if value and request.benchmark not in benchmark:
            raise InputError(f"--{name} is for {benchmark}, not for {request.benchmark}")


def _note_options(request: PreparationRequest) -> None:
    """Write down how the folder is made, or refuse to mix two ways."""
    note = request.out / NOTE
    options = {name: getattr(request, name) for name in OPTIONS[request.benchmark]}
    made_with = {"benchmark": request.benchmark, "options": options}
    if note.is_file():
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OutputError(f"{note} is damaged: {error}", "prepare into another folder") from error
        if before != made_with:
            raise InputError(
                f"{request.out} was prepared with {before}, which is not {made_with}",
                "give another --out, or the same options",
            )
    write_lines(note, [json.dumps(made_with)])


def _bring_pairs(
    scene: ScenePlan, request: PreparationRequest, given: Sequence[Path], finder: CandidateFinder | None
) -> tuple[int, list[str]]:
    """Files of pairs that were written, and what is wrong with them."""
    problems: list[str] = []
    if request.pairs is not None and not given:
        problems.append(f"{request.pairs} holds no file of pairs for {scene.name or request.benchmark}")
    steps: list[Callable[[], Sequence[Path]]] = [partial(_place, source, scene, problems) for source in given]
    if finder is not None and not given:
        steps.append(partial(make_pairs, finder, scene))
    written, failures = run_steps(steps)
    return written, problems + failures


def _place(source: Path, scene: ScenePlan, problems: list[str]) -> list[Path]:
    written, wrong = place_pairs(source, scene)
    problems += wrong
    return written


def _absent(request: PreparationRequest, scenes: Sequence[ScenePlan]) -> list[str]:
    if request.scenes:
        return []
    found = {scene.name for scene in scenes}
    return [name for name in SCENES.get(request.benchmark, ()) if name not in found]


def _numbered(what: str, problems: Sequence[str]) -> dict[str, str]:
    """Problems that belong to no file, by name."""
    return {f"{what} ({number})": text for number, text in enumerate(problems, start=1)}


def _shown(target: Path, out: Path) -> str:
    """A path in messages: relative to the prepared folder."""
    return str(target.relative_to(out)) if target.is_relative_to(out) else str(target)
