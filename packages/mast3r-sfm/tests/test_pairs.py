"""Scene graphs, prefilters, lists of pairs: equal to the goldens, and what upstream gets wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mast3r_model import InputError, OutputError, PluginError, hookimpl, temporary_plugin
from mast3r_sfm.pairs import (
    GraphRequest,
    both_ways,
    farthest_points,
    filter_edges_seq,
    filter_pairs,
    graph_pairs,
    make_pairs,
    pair_indices,
    read_pairs,
    retrieval_pairs,
    write_pairs,
)

Goldens = Callable[[str], Path]


@pytest.fixture
def golden(goldens: Goldens) -> dict[str, list[dict]]:
    return json.loads(goldens("sfm/pairs/pairs.json").read_text())


def views(count: int) -> list[dict]:
    return [{"idx": index, "img": torch.zeros(1)} for index in range(count)]


def numbers(pairs: list[tuple[dict, dict]]) -> list[tuple[int, int]]:
    return [(first["idx"], second["idx"]) for first, second in pairs]


@pytest.mark.parametrize("part", ["scene_graphs", "prefilter"])
def test_make_pairs_equals_upstream(golden: dict[str, list[dict]], part: str) -> None:
    """But for pairs of an image with itself, and pairs that come twice."""
    for case in golden[part]:
        made = make_pairs(views(case["n"]), case["graph"], case.get("prefilter"), case["symmetrize"])
        assert len(numbers(made)) == len(set(numbers(made)))
        assert set(numbers(made)) == {(i, j) for i, j in case["pairs"] if i != j}, case["graph"]


def test_retrieval_equals_upstream(golden: dict[str, list[dict]]) -> None:
    for case in golden["fps"]:
        similarity, start = np.array(case["sim"]), case["first_index"]
        if case["Na"]:
            chosen, distances = farthest_points(1 - similarity, case["Na"], start=start)
            assert chosen.tolist() == case["fps_indices"]
            np.testing.assert_allclose(distances, case["fps_distances"], atol=1e-12)
        pairs = retrieval_pairs(similarity, case["Na"], case["k"], start=start, exclude_self=False)
        assert pairs == sorted(pairs)
        assert set(pairs) == {(min(pair), max(pair)) for pair in case["pairs"]}
        assert set(both_ways(pairs)) == {(i, j) for i, j in case["symmetrized_pairs"]}


def test_neighbours_are_other_images() -> None:
    similarity = np.eye(5) + 1 / (1 + np.abs(np.subtract.outer(np.arange(5), np.arange(5))))
    assert retrieval_pairs(similarity, 0, 1, exclude_self=False) == []
    assert retrieval_pairs(similarity, 0, 1) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    chosen, _ = farthest_points(1 - similarity, 3)
    assert chosen.tolist() == [2, 0, 4]  # from the medoid to the ends
    assert len(farthest_points(np.zeros((4, 4)), 4)[0]) == len({*farthest_points(np.zeros((4, 4)), 4)[0]})
    with pytest.raises(InputError, match="choose 6 of 5"):
        retrieval_pairs(similarity, 6, 1)
    assert len(graph_pairs("retrieval-20-10", 5, similarity=similarity)) == 10


graphs = st.one_of(
    st.sampled_from(["complete", "swin", "logwin", "swin-noncyclic", "oneref", "auto"]),
    st.builds(
        "{}-{}{}".format,
        st.sampled_from(["swin", "logwin"]),
        st.integers(0, 9),
        st.sampled_from(["", "-noncyclic"]),
    ),
    st.builds("retrieval-{}-{}".format, st.integers(0, 9), st.integers(0, 9)),
)


@given(graphs, st.integers(1, 14), st.integers(0, 1000))
def test_every_graph_gives_each_pair_once(graph: str, count: int, seed: int) -> None:
    similarity = np.random.default_rng(seed).random((count, count))
    pairs = graph_pairs(graph, count, similarity=similarity)
    assert all(0 <= index < count for pair in pairs for index in pair)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all(first != second for first, second in pairs)
    assert len(both_ways(pairs)) == 2 * len(pairs) == len(set(both_ways(pairs)))
    assert both_ways(both_ways(pairs)) == both_ways(pairs)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("complet", "unknown scene graph"),
        ("complete-3", "'3' means nothing"),
        ("swin-x", "'x' is no whole number"),
        ("swin-2-cyclic", "'cyclic' means nothing"),
        ("swin--1", "'1' means nothing"),
        ("oneref-5", "no image 5 among 5"),
        ("retrieval-3", "argument 2 is missing"),
        ("retrieval-20-1-10-1", "'10' means nothing"),
        ("retrieval-3-1", "no similarity is given"),
        ("", "unknown scene graph"),
    ],
)
def test_graphs_that_mean_nothing(graph: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        graph_pairs(graph, 5)
    assert caught.value.hint


def test_similarity_is_measured_once_and_only_where_needed() -> None:
    asked = []

    def measure() -> np.ndarray:
        asked.append(1)
        return np.eye(21)

    assert len(graph_pairs("auto", 20, similarity=measure)) == 190
    assert not asked
    assert graph_pairs("auto", 21, similarity=measure)
    assert len(asked) == 1
    with pytest.raises(InputError, match=r"shape \(21, 21\), expected \(9, 9\)"):
        graph_pairs("retrieval-3-3", 9, similarity=measure)
    with pytest.raises(InputError, match="not finite"):
        graph_pairs("retrieval-3-3", 2, similarity=np.full((2, 2), np.nan))
    sim_mat = torch.rand(7, 7)
    assert make_pairs(views(7), "retrieval-3-2", sim_mat=sim_mat, symmetrize=False)


class Graphs:
    """A plugin's graphs."""

    @hookimpl
    def mast3r_pair_graphs(self) -> dict[str, object]:
        return {"chain-of": self.chain, "wrong": lambda request: [(0, request.count)]}

    def chain(self, request: GraphRequest) -> list[tuple[int, int]]:
        step = request.integer(0, default=1, minimum=1)
        return [(i, i + step) for i in range(request.count - step)] + [(0, 0), (step, 0)]


def test_graphs_of_plugins() -> None:
    with temporary_plugin(Graphs(), "graphs"):
        assert graph_pairs("chain-of", 4) == [(0, 1), (1, 2), (2, 3)]
        assert graph_pairs("chain-of-2", 4) == [(0, 2), (1, 3)]
        with pytest.raises(PluginError, match=r"gave the pair \(0, 4\)"):
            graph_pairs("wrong", 4)


def test_prefilters(caplog: pytest.LogCaptureFixture) -> None:
    assert filter_pairs([(0, 1), (0, 3), (3, 1)], "seq2") == [(0, 1), (3, 1)]
    assert filter_pairs([(0, 1), (0, 3), (3, 1)], "cyc1") == [(0, 1), (0, 3)]
    assert filter_pairs([], "cyc1") == []
    with pytest.raises(InputError, match="xyz3"):
        filter_pairs([(0, 1)], "xyz3")
    assert len(make_pairs(views(3), "complete", "xyz3")) == 6
    assert "xyz3" in caplog.text


def test_filter_edges_seq() -> None:
    view1 = {"idx": [0, 0, 2], "img": torch.arange(3), "instance": ["a", "b", "c"]}
    view2 = {"idx": torch.tensor([1, 3, 3]), "true_shape": np.arange(6).reshape(3, 2)}
    pred = {"pts3d": torch.arange(6).reshape(3, 2), "more": {"conf": [torch.zeros(1)] * 3}, "loss": None}
    first, second, kept, _ = filter_edges_seq(view1, view2, pred, {}, 1)
    assert first["img"].tolist() == [0, 2]
    assert first["instance"] == ["a", "c"]
    assert second["true_shape"].tolist() == [[0, 1], [4, 5]]
    assert kept["pts3d"].tolist() == [[0, 1], [4, 5]]
    assert (len(kept["more"]["conf"]), kept["loss"]) == (2, None)
    assert len(filter_edges_seq(view1, view2, pred, {}, 1, cyclic=True)[0]["idx"]) == 3
    with pytest.raises(InputError, match="4 rows"):
        filter_edges_seq(view1, view2, {"bad": torch.zeros(4)}, {}, 1)


NAMES = ["a.jpg", "in folder/b.jpg", "c.jpg"]


def test_lists_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    write_pairs(path, NAMES, [(1, 0), (0, 2), (0, 2)], scores=[0.5, 1.0, 1.0])
    assert path.read_text() == (
        "# kapture format: 1.1\n# query_image, map_image, score\n"
        "a.jpg, c.jpg, 1.0\nin folder/b.jpg, a.jpg, 0.5\n"
    )
    listed = read_pairs(path)
    assert listed.scores == (1.0, 0.5)
    assert listed.indices(NAMES) == pair_indices(listed.names, NAMES) == [(0, 2), (1, 0)]
    write_pairs(path, NAMES, [(2, 0)], format="colmap")
    assert path.read_text() == "c.jpg a.jpg\n"
    assert read_pairs(path).indices(NAMES) == [(2, 0)]
    for format in ("colmap", "hloc"):
        with pytest.raises(OutputError, match=r"'in folder/b\.jpg'"):
            write_pairs(path, NAMES, [(1, 0)], format=format)
    with pytest.raises(OutputError, match=r"'a,b\.jpg'"):
        write_pairs(path, ["a,b.jpg", "c.jpg"], [(1, 0)])
    assert path.read_text() == "c.jpg a.jpg\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\n", "line 1: expected two names"),
        ("# x\n\na.jpg, c.jpg, much\n", "line 3: the score 'much'"),
        ("a.jpg, , 1\n", "expected two names"),
        ("a.jpg c.jpeg\n", "'c.jpeg', which is not among the 3"),
        ("a.jpg a.jpg\n", "paired with itself"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "pairs.txt").indices(NAMES)
    with pytest.raises(InputError, match="no such list"):
        read_pairs(tmp_path / "nowhere.txt")
