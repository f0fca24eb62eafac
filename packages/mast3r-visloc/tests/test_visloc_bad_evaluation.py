"""What a user can do wrong with ``mast3r visloc evaluate`` and ``export``: one line that says it (spec 60 F2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .colour_network import ColourNetwork
from .visloc_cli import Visloc, refused, wall_expression


@pytest.mark.parametrize(
    ("text", "parts", "hint"),
    [
        ("RgbFolder('x')", ["RgbFolder", "^"], "RgbdFolder"),
        ("RgbdFolder('x'", ["^"], None),
        ("RgbdFolder('x', topk=1+1)", ["^"], None),
        ("RgbdFolder('x', tops=2)", ["tops"], None),
        ("__import__('os').system('true')", ["^"], None),
        ("RgbdFolder('absent', queries=['a.png'])", ["absent"], None),
        ("poselib('x')", ["poselib"], None),
        ("absent/run", ["absent/run is neither a dataset expression nor a run"], "check the path"),
        ("VislocSevenScenes('absent', 'chess', 'pairs')", ["absent"], None),
        ("RgbdFolder('absent', topk=0)", ["topk must be at least 1, got 0"], None),
    ],
)
def test_expressions(visloc: Visloc, text: str, parts: list[str], hint: str | None) -> None:
    ran = visloc("evaluate", text)
    assert ran.code == 1
    assert ran.error
    for part in parts:
        assert part in ran.err, ran.err
    assert hint is None or hint in ran.err
    assert len(ran.err.splitlines()) <= 5, ran.err


@pytest.mark.parametrize(
    ("flags", "parts", "code"),
    [
        (["--thresholds", "0.25"], ["expected a threshold 'metres,degrees', got '0.25'"], 1),
        (["--thresholds", "0.25,two"], ["got '0.25,two'"], 1),
        (["--thresholds", ""], ["thresholds must be positive"], 1),
        (["--thresholds", "0,-1"], ["thresholds must be positive"], 1),
        (["--shard", "2/2"], ["shard 2 of 2 does not exist"], 1),
        (["--shard", "half"], ["expected a shard I/N, got 'half'"], 1),
        (["--shard", "0/0"], ["shard 0 of 0 does not exist"], 1),
        (["--truth", "truth.txt"], ["--truth is for files of poses"], 1),
        (["--topk", 3], ["--topk is of --retrieval"], 1),
        (["--retrieval", "near"], ["3 of 3 have no GPS position in EXIF"], 1),
        (["--retrieval", "encodr"], ["--retrieval encodr"], 1),
        (["--label", "a/b"], ["must be no path"], 1),
        (["--solver", "posel"], ["'posel'"], 1),
        (["--limit", 0], [], 2),
    ],
)
def test_evaluation(
    visloc: Visloc,
    wall: Path,
    flags: list[object],
    parts: list[str],
    code: int,
    colour_network: ColourNetwork,
) -> None:
    ran = visloc("evaluate", wall_expression(wall), "--size", 128, *flags, "-o", "out")
    refused(ran, *parts, code=code)
    assert colour_network.encoded == 0
    assert not Path("out").exists()


def test_pairs_that_do_not_fit_a_dataset(visloc: Visloc, wall: Path) -> None:
    Path("pairs.txt").write_text("query_0.color.png other.png\n")
    text = wall_expression(wall).replace(str(wall / "pairs.txt"), "pairs.txt")
    refused(visloc("evaluate", text, "--size", 128), "'query_0.color.png' has no pairs", hint="--retrieval")
    two = visloc("evaluate", text, text)
    refused(two, "expected one dataset expression, got 2", hint="put it in quotes")
    assert visloc("evaluate").code == 2


def test_runs_to_compare_that_are_none(visloc: Visloc, wall: Path) -> None:
    Path("empty").mkdir()
    refused(visloc("evaluate", "empty"), "empty")
    refused(visloc("evaluate", wall / "truth.txt"), "needs known poses", hint="--truth PATH")
    refused(
        visloc("evaluate", wall / "truth.txt", "absent", "--truth", wall / "truth.txt"),
        "no such run",
        "absent",
    )
    refused(visloc("export", "empty", "--format", "csv"), "empty")
    refused(visloc("export", "absent", "--format", "csv"), "absent")
