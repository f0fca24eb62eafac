"""The flags of spec 60 F4, with their defaults: code and specification cannot drift apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import click
import pytest

from mast3r_visloc.cli import evaluate, export, index, localize, merge, prepare
from mast3r_visloc.commands.matching_flags import NOT_OF_POINTS3D, NOT_UPSTREAMS, MatchingFlags

MATCHING: dict[str, Any] = {
    "--exhaustive": False,
    "--cluster": False,
    "--fine": False,
    "--max-image-size": None,
    "--homography": None,
    "--no-homography": None,
    "--pixel-tolerance": 5.0,
    "--min-confidence": None,
    "--map-stride": 4,
    "--solver": None,
    "--threshold": None,
    "--min-inliers": 12,
    "--max-points": 100_000,
    "--align": False,
    "--densify": False,
    "--focal": "auto",
    "--jobs": 2,
    "--report": True,
    "--no-report": True,
    "--output": None,
}
SHOWN = {"--min-confidence": "1.001", "--solver": "poselib", "--threshold": "0.8%", "--homography": "on"}
"""Where the default depends on --parity, the help says what it is without."""

FLAGS: dict[click.Command, dict[str, Any]] = {
    localize: {
        **MATCHING,
        "--images": None,
        "--camera": None,
        "--camera-from": None,
        "--camera-id": None,
        "--queries": None,
        "--retrieval": "auto",
        "--topk": 20,
        "--prior": None,
        "--strict": False,
        "--radius": None,
        "--on-failure": "skip",
    },
    evaluate: {
        **MATCHING,
        "--retrieval": None,
        "--topk": None,
        "--thresholds": None,
        "--parity": False,
        "--limit": None,
        "--shard": None,
        "--label": "",
    },
    prepare: {"--raw": None, "--out": None, "--legacy-registration": False, "--workers": 1},
    index: {"--images": None, "--densify": False},
    export: {"--format": None, "--name-style": None},
    merge: {"--output": None, "--name-style": "full", "--on-failure": None, "--report": True},
}
CHOICES = {
    (localize, "--focal"): ("auto", "known", "refine", "estimate"),
    (localize, "--on-failure"): ("skip", "nearest", "identity"),
    (prepare, "benchmark"): ("aachen", "cambridge", "7scenes", "inloc"),
    (export, "--format"): ("ltvl", "hloc", "colmap", "csv"),
    (export, "--name-style"): ("base", "parent", "full"),
}


def parameters(command: click.Command) -> dict[str, click.Parameter]:
    return {
        name: parameter
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize("command", FLAGS, ids=lambda command: str(command.name))
def test_flags_and_defaults(command: click.Command) -> None:
    known = parameters(command)
    found = {name: known[name].to_info_dict()["default"] for name in FLAGS[command] if name in known}
    assert found == FLAGS[command]


@pytest.mark.parametrize("command", [localize, evaluate], ids=["localize", "evaluate"])
def test_defaults_that_depend_on_others_are_told(command: click.Command) -> None:
    known = parameters(command)
    for name, told in SHOWN.items():
        parameter = known[name]
        assert isinstance(parameter, click.Option)
        assert str(parameter.show_default).startswith(told)


@pytest.mark.parametrize(
    "command", [localize, index, evaluate, prepare], ids=lambda command: str(command.name)
)
def test_common_options(command: click.Command) -> None:
    common = {"--model", "--device", "--dtype", "--batch-size", "--threads", "--seed", "--offline", "--json"}
    assert common | {"--quiet", "--verbose", "--config", "--show-config"} <= set(parameters(command))


def test_choices() -> None:
    for (command, name), choices in CHOICES.items():
        assert tuple(parameters(command)[name].to_info_dict()["type"]["choices"]) == choices


def test_parity_uses_or_refuses_every_flag() -> None:
    """A new flag is either upstream's too (spec 50 A1, 60 F5) or refused beside --parity, never ignored."""
    upstreams = {
        "fine", "max_image_size", "homography", "pixel_tolerance", "min_confidence", "solver", "threshold",
        "reprojection_error", "reprojection_error_diag_ratio", "max_points", "max_batch_size",
    }  # fmt: skip
    elsewhere = {"topk", "given"}  # --topk needs --retrieval, which is refused
    known = {field.name for field in dataclasses.fields(MatchingFlags)}
    assert known == upstreams | set(NOT_UPSTREAMS) | elsewhere
    assert set(NOT_OF_POINTS3D) <= upstreams
    named = set(parameters(evaluate))
    for name in (*NOT_UPSTREAMS, *NOT_OF_POINTS3D):
        assert f"--{name.replace('_', '-')}" in named
