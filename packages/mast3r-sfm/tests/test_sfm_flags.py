"""The flags of ``mast3r sfm`` and ``export`` are those of spec 60 F4, and each of them arrives where it counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mast3r_model.cli import ModelOptions, run
from mast3r_sfm.cli import sfm
from mast3r_sfm.export_cli import export
from mast3r_sfm.sfm_request import SfmRequest

# flag, default (what the help says where the code has none)
F4: list[tuple[str, Any]] = [
    ("--mapper", "sparse"),
    ("--graph", "auto"),
    ("--retrieval", "encoder"),
    ("--pairs", None),
    ("--quality", "refine+depth"),
    ("--lr1", "0.07"),
    ("--iters1", "300"),
    ("--lr2", "0.01"),
    ("--iters2", "300"),
    ("--solver", "lm"),
    ("--matching-confidence", 0.0),
    ("--shared-intrinsics", False),
    ("--schedule", "linear"),
    ("--iters", "300"),
    ("--image-size", 512),
    ("--intrinsics", None),
    ("--poses", None),
    ("--masks", None),
    ("--output", None),
    ("--export", "colmap,nerfstudio,glb,ply,depth"),
    ("--min-confidence", "by the network"),
    ("--percentile", None),
    ("--mesh", False),
    ("--clean-depth", True),
    ("--mask-sky", False),
    ("--tsdf", 0.0),
    ("--cam-size", "auto"),
    ("--transparent-cams", False),
    ("--engine", "local"),
    ("--refine", "auto"),
    ("--add-to", None),
    ("--viewer", False),
    ("--fps", None),
    ("--max-frames", 300),
]


@pytest.mark.parametrize(("flag", "default"), F4)
def test_flags_are_those_of_the_specification(flag: str, default: object) -> None:
    (parameter,) = [parameter for parameter in sfm.params if flag in parameter.opts]
    shown = getattr(parameter, "show_default", None)
    actual = shown if isinstance(shown, str) else parameter.to_info_dict()["default"]
    assert actual == default
    assert not parameter.hidden


@pytest.mark.parametrize("flag", ["--format", "--output", *[name for name, _ in F4[20:28]]])
def test_export_filters_as_sfm_does(flag: str) -> None:
    assert [parameter for parameter in export.params if flag in parameter.opts]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SfmRequest]:
    """What the command would do, from its words."""
    requests: list[SfmRequest] = []
    monkeypatch.setattr(
        "mast3r_sfm.sfm_command.run_sfm", lambda context, request, model: requests.append(request)
    )

    def ask(*words: str) -> SfmRequest:
        assert run(sfm, ["photos", *words]) == 0
        return requests[-1]

    return ask


@pytest.mark.parametrize(
    ("words", "place", "value"),
    [
        ("--mapper glomap", "mapper", "glomap"),
        ("--graph swin-3-noncyclic", "graph", "swin-3-noncyclic"),
        ("--scene_graph oneref-1", "graph", "oneref-1"),
        ("--retrieval net.pth", "retriever", "net.pth"),
        ("--quality coarse", "align.fine", False),
        ("--quality refine", "align.optimize_depth", False),
        ("--quality refine+depth", "align.optimize_depth", True),
        ("--solver adam --lr1 0.05", "align.coarse_lr", 0.05),
        ("--solver adam --iters1 200", "align.coarse_iterations", 200),
        ("--solver adam --lr2 0.02", "align.fine_lr", 0.02),
        ("--solver adam --iters2 100", "align.fine_iterations", 100),
        ("--solver adam --iters2 0", "align.fine", False),
        ("--matching-confidence 5", "matching_confidence", 5.0),
        ("--shared-intrinsics", "shared_intrinsics", True),
        ("--mapper dense --schedule cosine", "dense.schedule", "cosine"),
        ("--mapper dense --iters 50", "dense.iterations", 50),
        ("--min-confidence 1.5", "min_confidence", 1.5),
        ("--no-clean-depth", "clean_depth", False),
        ("--engine ray", "engine", "ray"),
        ("--refine none", "refine", "none"),
        ("--no-verify", "verify", False),
    ],
)
def test_a_flag_arrives_in_the_options(
    asked: Callable[..., SfmRequest], words: str, place: str, value: object
) -> None:
    found: Any = asked(*words.split()).options(ModelOptions())
    for name in place.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("words", "place", "value"),
    [
        ("--pairs pairs.txt", "pairs_file", Path("pairs.txt")),
        ("--image_size 224", "size", 224),
        ("--intrinsics K.txt", "intrinsics", Path("K.txt")),
        ("--poses sparse/0", "poses", Path("sparse/0")),
        ("--masks masks", "masks", (Path("masks"),)),
        ("--export glb,ply", "formats", ["glb", "ply"]),
        ("-o scene", "folder", Path("scene")),
        ("-q", "folder", Path("mast3r_photos")),
        ("--add-to old", "folder", Path("old")),
        ("--percentile 20", "view.percentile", 20.0),
        ("--mesh", "view.as_mesh", True),
        ("--mask-sky", "view.mask_sky", True),
        ("--tsdf 0.1", "view.tsdf", 0.1),
        ("--cam-size 0.2", "view.camera_size", 0.2),
        ("--transparent-cams", "view.transparent_cameras", True),
        ("--viewer", "viewer", True),
        ("-o scene", "cache_folder", Path("scene/cache")),
        ("-o scene --cache kept", "cache_folder", Path("kept")),
        ("-o scene --no-cache", "cache_folder", None),
    ],
)
def test_a_flag_arrives_in_the_request(
    asked: Callable[..., SfmRequest], words: str, place: str, value: object
) -> None:
    found: Any = asked(*words.split())
    for name in place.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_cache_and_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sfm, ["photos", "--cache", "kept", "--no-cache"]) == 2
    assert "give one of them" in capsys.readouterr().err
