"""``mast3r visloc evaluate --parity`` against upstream's printed line and files, verbatim (goldens ``end_to_end``)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model.cli import ModelOptions, root, run

from .analytic_network import AnalyticNetwork
from .conftest import GOLDENS

RUNS: dict[str, Any] = json.loads((GOLDENS / "end_to_end.json").read_text())
NEAR = (0.005, 0.05)
"""Metres and degrees that the goldens' README allows a pose to be off."""


def evaluate(
    name: str, out: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *more: str
) -> tuple[int, str, str]:
    """Upstream's words, and those that ours needs more."""
    recorded = RUNS[name]
    monkeypatch.setattr(ModelOptions, "load", lambda *_: AnalyticNetwork(recorded["maxdim"]))
    dataset = recorded["dataset"].replace("ROOT", str(GOLDENS / "datasets"))
    words = ["--dataset", dataset, *recorded["args"].split(), "--output_dir", str(out), "--no-report"]
    script = ["--matcher", "points3d"] if recorded["script"] == "dust3r" else []
    code = run(root(), ["visloc", "evaluate", *words, "--parity", *script, *more])
    return code, *capfd.readouterr()


def rows(text: str) -> dict[str, np.ndarray]:
    """The seven numbers of each line, as they stand there."""
    lines = (line.split(" ") for line in text.splitlines())
    return {name: np.array(numbers, dtype=np.float64) for name, *numbers in lines}


def figures(line: str) -> tuple[list[float], list[str]]:
    """Medians and recalls of upstream's summary line, whatever its numbers are wrapped in."""
    medians = re.findall(r"median_\w+=(?:np\.float64\()?([\d.e-]+|inf)", line)
    return [float(number) for number in medians], re.findall(r"acc@\S+", line)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name.startswith(("cambridge224", "c2f224", "dust3r")) else pytest.mark.slow
        )
        for name in RUNS
    ],
)
def test_the_line_and_the_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recorded, out = RUNS[name], tmp_path / "out"
    code, printed, said = evaluate(name, out, monkeypatch, capfd)
    assert code == 0, said
    results = {file for file in recorded["files"] if not file.startswith("matches/")}
    assert results == recorded["text"].keys()
    assert results <= {path.name for path in out.iterdir()}
    for file, text in recorded["text"].items():
        found, expected = rows((out / file).read_text()), rows(text)
        assert list(found) == list(expected)
        for query, numbers in expected.items():
            # The signs of quaternions too: upstream's are as they come.
            np.testing.assert_allclose(found[query][:4], numbers[:4], rtol=0, atol=np.radians(NEAR[1]))
            np.testing.assert_allclose(found[query][4:], numbers[4:], rtol=0, atol=2 * NEAR[0])
    line = next(line for line in printed.splitlines() if "median_pos_error" in line)
    (medians, recalls), (their_medians, their_recalls) = figures(line), figures(recorded["stats"])
    assert recalls == their_recalls
    assert f": {len(recorded['results'])} images - " in line
    np.testing.assert_array_less(np.abs(np.subtract(medians, their_medians)), NEAR)
    report = json.loads((out / "report.json").read_text())
    for query in report["queries"]:
        # Against the dataset's poses: the identity where it has none.
        expected = recorded["results"][query["name"]]
        error = query["error"]
        assert abs(error["position_m"] - expected["pose_error_vs_dataset"]) < NEAR[0]
        assert abs(error["rotation_deg"] - expected["angular_error_vs_dataset"]) < NEAR[1]


def test_jobs_are_told_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, (words, told) in enumerate(((("--jobs", "3"), True), ((), False))):
        out = tmp_path / str(number)
        code, _, said = evaluate("cambridge224_poselib", out, monkeypatch, capfd, "--limit", "1", *words)
        assert code == 0, said
        assert ("--jobs is not used" in said) == told
