"""Command lines of upstream's scripts, with only the script's name replaced (spec 60 F5): what arrives.

Those of ``train.py`` and ``visloc.py`` are in the tests of mast3r-train and mast3r-visloc, word for word.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from mast3r_model import CommandSpec, registry
from mast3r_model.cli import CommandContext, run
from mast3r_model.plugins import resolve_import_string

BIG = "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric"

LINES: list[tuple[str, str, dict[str, object]]] = [
    (
        "demo.py",
        f"demo --model_name {BIG} --local_network --server_port 7861 --image_size 512 --device cuda --silent "
        "--share --gradio_delete_cache 3600 --retrieval_model trainingfree.pth --tmp_dir .",
        {"model_name": BIG, "local_network": True, "share": True, "device": "cuda", "image_size": 512},
    ),
    (
        "demo.py with a file",
        "demo --weights checkpoints/x.pth --server_name 0.0.0.0",
        {"weights": "checkpoints/x.pth"},
    ),
    (
        "demo_dust3r_ga.py",
        "demo --mapper dense --weights checkpoints/x.pth --image_size 224",
        {"mapper": "dense", "image_size": 224},
    ),
    (
        "demo_glomap.py",
        f"demo --mapper glomap --model_name {BIG} --glomap_bin /usr/bin/glomap",
        {"mapper": "glomap", "glomap_bin": "/usr/bin/glomap"},
    ),
    (
        "make_pairs.py",
        f"pairs --dir photos --output pairs.txt --scene_graph retrieval-20-10 --model_name {BIG} "
        "--retrieval_model trainingfree.pth --device cuda",
        {"folder": Path("photos"), "graph": "retrieval-20-10", "retrieval": "trainingfree.pth"},
    ),
    (
        "kapture_mast3r_mapping.py on a kapture folder",
        f"colmap --model_name {BIG} -i kapture -o out --pairsfile_path pairs.txt --pixel_tol 5 "
        "--conf_thr 1.001 --skip_geometric_verification --min_len_track 3 --ignore_pose --device cuda "
        "--glomap_bin glomap",
        {
            "kapture": Path("kapture"),
            "output": Path("out"),
            "pairs_file": Path("pairs.txt"),
            "pixel_tolerance": 5.0,
            "min_confidence": 1.001,
            "skip_geometric_verification": True,
            "min_track": 3,
            "ignore_poses": True,
        },
    ),
    (
        "kapture_mast3r_mapping.py on photos",
        "colmap --weights x.pth --dir_same_camera photos -o out --pairsfile_path pairs.txt --dense_matching "
        "--use_glomap_mapper",
        {"dir_same_camera": Path("photos"), "dense": True, "use_glomap_mapper": True},
    ),
    (
        "visloc.py of dust3r",
        "visloc evaluate --dataset \"VislocSevenScenes('7-scenes', subscene='heads')\" --matcher points3d "
        "--weights x.pth --pnp_mode poselib --reprojection_error 5 --pnp_max_points 1000 --output_dir out "
        "--output_label l --viz_matches 0 --confidence_threshold 3.0 --image_size 512",
        {"matcher": "points3d", "solver": "poselib", "reprojection_error": 5.0, "max_points": 1000},
    ),
    (
        "visloc.py",
        "visloc evaluate --dataset \"VislocAachenDayNight('aachen', subscene='day', pairsfile='p', topk=50)\" "
        f"--model_name {BIG} --pixel_tol 5 --pnp_mode poselib --reprojection_error_diag_ratio 0.008 "
        "--output_dir out --coarse_to_fine --max_batch_size 48 --c2f_crop_with_homography "
        "--max_image_size 1200",
        {"fine": True, "max_batch_size": 48, "homography": True, "reprojection_error_diag_ratio": 0.008},
    ),
    (
        "README's script for two photos",
        "match a.jpg b.jpg --viz out.png",
        {"photos": (Path("a.jpg"), Path("b.jpg")), "viz": Path("out.png")},
    ),
]


@pytest.mark.parametrize(("line", "expected"), [entry[1:] for entry in LINES], ids=[row[0] for row in LINES])
def test_a_line_of_upstream_is_understood(line: str, expected: dict[str, object]) -> None:
    words = shlex.split(line)
    known = registry("commands")
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in known)
    spec = known[name]
    assert isinstance(spec, CommandSpec)
    command = resolve_import_string(spec.target)
    assert isinstance(command, click.Command)
    with command.make_context(name, words[len(name.split()) :]) as context:
        assert {key: context.params[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("line", "model"),
    [
        (f"pairs photos --model_name {BIG}", f"naver/{BIG}"),
        ("colmap photos --weights checkpoints/x.pth", "checkpoints/x.pth"),
        ("sfm photos --model-name me/mine", "me/mine"),
    ],
)
def test_models_of_upstreams_spelling(line: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name gets its owner, as upstream adds it, and reaches the command."""
    seen: list[str] = []

    def run_instead(context: CommandContext, request: Any, options: Any) -> None:
        seen.append(options.model)

    name, *words = line.split()
    module = {"pairs": "pairs.command", "colmap": "colmap.command", "sfm": "sfm_command"}[name]
    monkeypatch.setattr(f"mast3r_sfm.{module}.run_{name}", run_instead)
    spec = registry("commands")[name]
    assert isinstance(spec, CommandSpec)
    assert run(resolve_import_string(spec.target), words) == 0  # type: ignore[arg-type]
    assert seen == [model]
