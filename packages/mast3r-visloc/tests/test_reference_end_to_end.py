"""Upstream's scripts as a whole, on the goldens' datasets with the goldens' analytic network (spec 50 A5 to A7)."""

from __future__ import annotations

import ast
import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from mast3r_visloc import Pose, datasets, evaluate
from mast3r_visloc.reference import MapMatches, ReferenceOptions, ReferencePipeline, iterate_reference_views

from .analytic_network import AnalyticNetwork
from .conftest import GOLDENS

RUNS: dict[str, Any] = json.loads((GOLDENS / "end_to_end.json").read_text())


@dataclass(frozen=True)
class Run:
    """What our pipeline gave for one of the recorded runs."""

    poses: dict[str, Pose]
    matches: dict[str, MapMatches]  # by "query/map image"
    network_calls: int


def options_of(script: str, flags: str) -> ReferenceOptions:
    """Upstream's flags as options."""
    values: dict[str, Any] = {}
    for flag in flags.split("--")[1:]:
        name, *given = flag.split()
        values[name] = ast.literal_eval(given[0]) if given and given[0][0].isdigit() else (given or [True])[0]
    return ReferenceOptions(matcher="points3d" if script == "dust3r" else "descriptors", **values)


def dataset_of(expression: str) -> datasets.LocalizationDataset:
    call = ast.parse(expression.replace("ROOT", str(GOLDENS / "datasets")), mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    return getattr(datasets, call.func.id)(*map(ast.literal_eval, call.args), **keywords)


@functools.cache
def run(name: str) -> Run:
    recorded = RUNS[name]
    dataset, network = dataset_of(recorded["dataset"]), AnalyticNetwork(recorded["maxdim"])
    matches: dict[str, MapMatches] = {}
    pipeline = ReferencePipeline(
        network,
        options_of(recorded["script"], recorded["args"]),
        on_matches=lambda query, image, found: matches.update({f"{query}/{image}": found}),
    )
    assert pipeline.maxdim == recorded["maxdim"]
    poses = [
        pipeline.localize(iterate_reference_views(dataset, number, pipeline.maxdim))
        for number in range(len(dataset.queries))
    ]
    return Run({pose.name: pose for pose in poses}, matches, network.calls)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDENS / "end_to_end.npz"))


def rows_of(query_xy: np.ndarray, map_xy: np.ndarray, xyz: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    return np.column_stack([query_xy, map_xy, xyz, confidence])


@pytest.mark.parametrize("name", [name for name in RUNS if "matches" in RUNS[name]])
def test_matches(name: str, arrays: dict[str, np.ndarray]) -> None:
    recorded, found = RUNS[name], run(name)
    files = {file.split("/", 2)[2].removesuffix(".npz"): file for file in recorded["matches"]}
    assert files.keys() == found.matches.keys()
    equal, compared = 0, 0
    for pair, file in files.items():
        ours, count = found.matches[pair], recorded["matches"][file]["n"]
        assert abs(len(ours) - count) <= 0.01 * count
        keys = "matches_im_query", "matches_im_map", "valid_pts3d", "matches_conf"
        theirs = rows_of(*(arrays[f"{name}/{file}/{key}"] for key in keys))
        compared += len(theirs)
        if len(ours) and len(theirs):
            tree = KDTree(rows_of(ours.query_xy, ours.map_xy, ours.xyz, ours.confidence))
            equal += int((tree.query(theirs)[0] < 1e-3).sum())
    assert compared > 100
    assert equal >= 0.99 * compared


@pytest.mark.parametrize("name", RUNS)
def test_poses(name: str, arrays: dict[str, np.ndarray]) -> None:
    recorded, found = RUNS[name], run(name)
    assert found.poses.keys() == recorded["results"].keys()
    for query, result in recorded["results"].items():
        pose, theirs = found.poses[query], arrays[f"{name}/pose/{query}"]
        assert pose.success
        assert result["success"]
        assert pose.cam2world is not None
        assert np.linalg.norm(pose.cam2world[:3, 3] - theirs[:3, 3]) < 0.005
        turn = Rotation.from_matrix(pose.cam2world[:3, :3].T @ theirs[:3, :3]).magnitude()
        assert np.degrees(turn) < 0.05


@pytest.mark.parametrize("name", RUNS)
def test_number_of_network_calls(name: str) -> None:
    assert run(name).network_calls == RUNS[name]["network_calls"]


def test_evaluate_in_parity_is_the_script_without_flags() -> None:
    """Spec 50 D6: ``evaluate(dataset, model, parity=True)``."""
    recorded = next(run for run in RUNS.values() if run["script"] == "mast3r")
    dataset, network = dataset_of(recorded["dataset"]), AnalyticNetwork(recorded["maxdim"])
    (record,) = evaluate(dataset, network, parity=True, limit=1).records  # type: ignore[arg-type]
    pipeline = ReferencePipeline(network, ReferenceOptions())
    pose = pipeline.localize(iterate_reference_views(dataset, 0, pipeline.maxdim))
    assert pose.success
    assert pose.cam2world is not None
    assert np.array_equal(record.cam2world, pose.cam2world)
