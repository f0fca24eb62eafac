"""What a visitor chooses, as options of mast3r_sfm and as a command line that gives the same."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from mast3r_demo.settings import ReconstructionSettings
from mast3r_model import InputError
from mast3r_sfm import AdamOptions, LmOptions, graph_pairs


@pytest.mark.parametrize(
    ("changes", "count", "name"),
    [
        ({}, 12, "complete"),
        ({}, 13, "logwin-3-noncyclic"),
        ({"fps": 1.0}, 13, "swin-3-noncyclic"),
        ({"fps": 1.0, "cyclic": True}, 13, "swin-3"),
        ({"retrieval": "retrieval.pth"}, 13, "retrieval-20-10"),
        ({"retrieval": "retrieval.pth"}, 12, "complete"),
        ({"window": 7}, 13, "logwin-3-noncyclic"),
        ({"graph": "swin", "window": 5}, 4, "swin-5-noncyclic"),
        ({"graph": "swin", "cyclic": True}, 4, "swin-3"),
        ({"graph": "logwin", "window": 2}, 4, "logwin-2-noncyclic"),
        ({"graph": "oneref", "reference": 2}, 4, "oneref-2"),
        ({"graph": "retrieval", "key_images": 4, "neighbours": 2}, 4, "retrieval-4-2"),
        ({"graph": "complete"}, 100, "complete"),
    ],
)
def test_graphs(changes: dict[str, Any], count: int, name: str) -> None:
    assert ReconstructionSettings(**changes).graph_name(count) == name


@pytest.mark.parametrize("count", [0, 1, 2, 5, 13, 40])
def test_pairs_are_counted_as_they_are_made(count: int) -> None:
    for graph in ("auto", "complete", "swin", "logwin", "oneref"):
        settings = ReconstructionSettings(graph=graph)  # type: ignore[arg-type]
        if graph == "oneref" and not count:
            with pytest.raises(InputError):
                settings.pair_count(count)
        else:
            assert settings.pair_count(count) == len(graph_pairs(settings.graph_name(count), count))


@pytest.mark.parametrize(("keys", "neighbours"), [(20, 10), (3, 1), (0, 2), (2, 5)])
@pytest.mark.parametrize("count", [2, 5, 40])
def test_retrieval_is_never_more_than_said(count: int, keys: int, neighbours: int) -> None:
    import numpy as np

    settings = ReconstructionSettings(graph="retrieval", key_images=keys, neighbours=neighbours)
    similarity = np.random.default_rng(count).random((count, count))
    made = graph_pairs(settings.graph_name(count), count, similarity=similarity)
    assert 0 < len(made) <= settings.pair_count(count) <= count * (count - 1) // 2


def test_the_solver_is_upstreams_only_where_its_numbers_are_asked_for() -> None:
    assert isinstance(ReconstructionSettings().options().align, LmOptions)
    for change in (
        {"solver": "adam"},
        {"coarse_lr": 0.1},
        {"coarse_iterations": 100},
        {"fine_lr": 0.02},
        {"fine_iterations": 10},
    ):
        options = ReconstructionSettings(**change).options()
        assert options.solver == "adam"
        assert isinstance(options.align, AdamOptions)
        if "solver" not in change:
            ((name, value),) = change.items()
            assert getattr(options.align, name) == value
    assert not ReconstructionSettings(coarse_lr=0.1, mapper="dense").by_adam


@pytest.mark.parametrize(
    ("quality", "fine", "depth"),
    [("coarse", False, False), ("refine", True, False), ("refine+depth", True, True)],
)
def test_quality(quality: Any, fine: bool, depth: bool) -> None:
    for solver in ("lm", "adam"):
        align = ReconstructionSettings(quality=quality, solver=solver).options().align  # type: ignore[arg-type]
        assert align is not None
        assert (align.fine, align.optimize_depth) == (fine, depth)


@pytest.mark.parametrize(
    "wrong",
    [
        {"graph": "star"},
        {"quality": "best"},
        {"mapper": "magic"},
        {"window": 0},
        {"coarse_lr": 0.0},
        {"coarse_lr": float("nan")},
        {"iterations": 10**9},
        {"image_size": 10**6},
        {"matching_confidence": -1.0},
        {"fps": 0.0},
        {"seed": -1},
    ],
)
def test_what_no_control_gives_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ReconstructionSettings(**wrong)


CHOICES: list[dict[str, Any]] = [
    {},
    {"quality": "coarse"},
    {"quality": "refine+depth"},
    {"coarse_lr": 0.1, "fine_iterations": 20},
    {"solver": "adam", "fine_iterations": 0},
    {"mapper": "dense", "schedule": "cosine", "iterations": 50},
    {"mapper": "glomap", "shared_intrinsics": True, "matching_confidence": 1.5},
    {"graph": "retrieval", "retrieval": "my checkpoint.pth"},
    {"graph": "swin", "window": 4, "cyclic": True},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_the_command_gives_the_same_options(choice: dict[str, Any]) -> None:
    from mast3r_model.cli import ModelOptions
    from mast3r_sfm.cli import sfm
    from mast3r_sfm.sfm_request import SfmRequest
    from mast3r_sfm.view_options import ViewFilters

    settings = ReconstructionSettings(**choice)
    inputs = ["a photo.jpg", "b;rm -rf.jpg", "c.jpg"]
    words = shlex.split(settings.command(inputs, "my scene", model="nano"))
    assert words[:2] == ["mast3r", "sfm"]
    with sfm.make_context("sfm", words[2:]) as context:
        flags = dict(context.params)
    assert [str(photo) for photo in flags["photos"]] == inputs
    assert str(flags["output"]) == "my scene"
    wanted = {name for name in SfmRequest.__dataclass_fields__ if name != "view"}
    request = SfmRequest(view=ViewFilters(), **{name: flags[name] for name in wanted})
    # the page's 3D view cleans depths, so that it can be switched off there; the command's result is clean too
    assert request.options(ModelOptions()) == replace(settings.options(3), clean_depth=True)
    assert not settings.options(3).clean_depth


def test_the_rest_of_the_command() -> None:
    settings = ReconstructionSettings(image_size=224, seed=3, fps=1.5)
    line = settings.command(["walk.mp4"], "out", count=30, model="naver/MASt3R")
    assert line == (
        "mast3r sfm walk.mp4 -o out --graph swin-3-noncyclic --quality refine --image-size 224 --seed 3 "
        "--fps 1.5 --model naver/MASt3R"
    )
    assert replace(settings, quality="refine+depth").command(["d"], "out", count=2).count("--quality") == 0
