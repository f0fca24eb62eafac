"""Upstream's published commands run with `python3 visloc.py` replaced by `mast3r visloc evaluate` (spec 50 A1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mast3r_model import AsymmetricCroCo3DStereo, AsymmetricMASt3R
from mast3r_model.cli import ModelOptions, root, run
from mast3r_visloc.commands import evaluate_command
from mast3r_visloc.commands.evaluate_command import EvaluateRequest
from mast3r_visloc.reference import ReferenceOptions

from .published_commands import DUST3R, MAST3R, MODEL, PUBLISHED, SEVEN_SCENES, Published

RUNNABLE = {name: published for name, published in PUBLISHED.items() if published.queries is not None}
WORDS = {
    # What each of upstream's flags alone means (spec 50 A1).
    "--confidence_threshold 0.7": {"confidence_threshold": 0.7},
    "--pixel_tol 2": {"pixel_tol": 2},
    "--coarse_to_fine": {"coarse_to_fine": True},
    "--max_image_size 640": {"max_image_size": 640},
    "--coarse_to_fine --c2f_crop_with_homography": {
        "coarse_to_fine": True,
        "c2f_crop_with_homography": True,
    },
    "--pnp_mode cv2": {"pnp_mode": "cv2"},
    "--pnp_mode poselib": {"pnp_mode": "poselib"},
    "--pnp_mode pycolmap": {"pnp_mode": "pycolmap"},
    "--reprojection_error 3": {"reprojection_error": 3.0},
    "--reprojection_error 7.5": {"reprojection_error": 7.5},
    "--reprojection_error_diag_ratio 0.01": {"reprojection_error_diag_ratio": 0.01},
    "--max_batch_size 4": {"max_batch_size": 4},
    "--pnp_max_points 500": {"pnp_max_points": 500},
    "--viz_matches 10": {},
}

OURS_AND_UPSTREAMS = [
    ("--solver cv2", "--pnp_mode cv2"),
    ("--threshold 7.5px", "--reprojection_error 7.5"),
    ("--threshold 0.9%", "--reprojection_error_diag_ratio 0.009"),
    ("--fine", "--coarse_to_fine"),
    ("--homography", "--c2f_crop_with_homography"),
    ("--min-confidence 1.5", "--confidence_threshold 1.5"),
    ("--pixel-tolerance 3", "--pixel_tol 3"),
    ("--max-image-size 640", "--max_image_size 640"),
    ("--batch-size 4", "--max_batch_size 4"),
    ("--max-points 500", "--pnp_max_points 500"),
    ("-o /out", "--output_dir /out"),
    ("--label mine", "--output_label mine"),
]
"""Spec 60 F5."""

QUICK = ("aachen_all_dust3r", "cambridge_KingsCollege", "cambridge_KingsCollege_fine", "7scenes_chess_dust3r")
QUICK_OURS = ("aachen_night", "cambridge_KingsCollege_fine", "7scenes_chess")

Understood = tuple[EvaluateRequest, ModelOptions]


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parses words and returns what the command was asked for."""
    asked: list[Understood] = []
    monkeypatch.setattr(
        evaluate_command, "run_evaluate", lambda context, request, model: asked.append((request, model))
    )

    def parse(words: list[str]) -> Understood:
        asked.clear()
        assert run(root(), ["visloc", "evaluate", *words]) == 0
        return asked[0]

    return parse


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_word_is_understood(understood: Any, name: str) -> None:
    published = PUBLISHED[name]
    request, model = understood(published.words)
    assert request.data == (published.expression,)
    assert str(request.output) == "/out"
    is_dust3r = name.endswith("_dust3r")
    assert request.label == ("" if is_dust3r else "lbl")
    assert model.model == f"naver/{DUST3R if is_dust3r else MAST3R}"
    assert request.matching.reference(model, request.matcher) == ReferenceOptions(**published.fields)
    ours = request.matching.options(model, retrieval="pairs")
    assert (ours.solver, ours.threshold, ours.pixel_tolerance) == ("poselib", "0.8%", 5.0)
    assert ours.fine == published.fields.get("coarse_to_fine", False)
    assert ours.max_image_size == published.fields.get("max_image_size")


@pytest.mark.parametrize("flags", WORDS)
def test_every_flag_of_upstreams(understood: Any, flags: str) -> None:
    start = ["--weights", "w.pth", "--dataset", SEVEN_SCENES.format("chess"), "--device", "cpu", "--parity"]
    request, model = understood([*start, *flags.split()])
    assert (model.model, model.device) == ("w.pth", "cpu")
    assert request.matching.reference(model, "descriptors") == ReferenceOptions(**WORDS[flags])


@pytest.mark.parametrize(("ours", "upstreams"), OURS_AND_UPSTREAMS)
def test_our_words_mean_upstreams(understood: Any, ours: str, upstreams: str) -> None:
    """Both spellings of spec 60 F5, with --parity and without."""
    start = ["--dataset", SEVEN_SCENES.format("chess"), "--fine"]
    for parity in (["--parity"], []):
        meanings = []
        for words in (ours, upstreams):
            request, model = understood([*start, *words.split(), *parity])
            matching = request.matching
            meanings.append(
                (
                    matching.reference(model, "descriptors")
                    if parity
                    else matching.options(model, retrieval="pairs"),
                    (request.label, matching.upstream_threshold()),
                    str(request.output),
                )
            )
        assert meanings[0] == meanings[1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--weights a --model_name b", 2, "both name the model"),
        ("--reprojection_error 5 --reprojection_error_diag_ratio 0.008", 1, "both give the threshold"),
        ("--pixel_tol 0", 2, "0"),
        ("--pnp_mode ransac", 1, "ransac"),
        ("--parity --pnp_mode ransac", 1, "ransac"),
        ("--parity --cluster", 1, "--cluster means nothing with --parity"),
        ("--parity --retrieval encoder", 1, "leave out --retrieval"),
        ("--parity --min-inliers 12", 1, "--min-inliers means nothing with --parity"),
        ("--parity --max-chance 0.1", 1, "--max-chance means nothing with --parity"),
        ("--parity --map-stride 2", 1, "--map-stride means nothing with --parity"),
        ("--parity --points-per-image 9", 1, "--points-per-image means nothing with --parity"),
        ("--parity --pixel-tol 2.5", 1, "needs a --pixel-tolerance of whole pixels, got 2.5"),
        ("--parity --matcher points3d --pixel_tol 5", 1, "--pixel-tolerance means nothing with --matcher"),
        ("--parity --matcher points3d --max_image_size 640", 1, "--max-image-size means nothing with"),
        ("--parity --matcher points3d --coarse_to_fine", 1, "--fine means nothing with --matcher points3d"),
        ("--matcher points3d", 1, "needs --parity"),
    ],
)
def test_what_upstream_refuses_too(
    words: str, code: int, message: str, capfd: pytest.CaptureFixture[str], goldens: Path
) -> None:
    expression = SEVEN_SCENES.format("chess").replace("/path", str(goldens / "datasets"))
    assert run(root(), ["visloc", "evaluate", "--dataset", expression, *words.split()]) == code
    assert message in capfd.readouterr().err


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small random networks on the disk, one with descriptors and one without."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "pos_embed": "RoPE100",
        "img_size": (224, 224),
        "enc_embed_dim": 32,
        "enc_depth": 1,
        "enc_num_heads": 2,
        "dec_embed_dim": 32,
        "dec_depth": 2,
        "dec_num_heads": 2,
        "landscape_only": False,
        "conf_mode": ("exp", 1, float("inf")),
    }
    AsymmetricMASt3R(head_type="catconv", output_mode="pts3d+desc6", **small).save_pretrained(folder / MAST3R)
    AsymmetricCroCo3DStereo(head_type="linear", **small).save_pretrained(folder / DUST3R)
    return {name: folder / name for name in (MAST3R, DUST3R)}


def run_published(
    published: Published, networks: dict[str, Path], goldens: Path, out: Path, *more: str
) -> int:
    line = published.line.replace("/path", str(goldens / "datasets")).replace("/out", str(out))
    for name, place in networks.items():
        line = line.replace(f"--model_name {name}", f"--model {place}")
    return run(root(), ["visloc", "evaluate", *Published(line, "").words, *more])


def check_results(published: Published, out: Path, code: int, printed: str) -> None:
    """Upstream's files, a line for each query, and the table; a random network localises nothing."""
    names = [path.name for path in out.iterdir()]
    assert {f"{published.label}_results.txt", f"{published.label}_ltvl.txt", "report.json"} <= set(names)
    for kind in ("results", "ltvl"):
        lines = (out / f"{published.label}_{kind}.txt").read_text().splitlines()
        assert len(lines) == published.queries
        assert all(len(line.split()) == 8 for line in lines)
    assert "0.25 m, 2°" in printed
    assert f": {published.queries} images" in printed
    assert code in (0, 3, 4)


def some_slow(names: Iterable[str], quick: Sequence[str]) -> list[Any]:
    """All of them take minutes, on the network's full size."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    "name", some_slow((name for name in RUNNABLE if not name.endswith("_dust3r")), QUICK_OURS)
)
def test_it_runs_our_way(
    name: str,
    networks: dict[str, Path],
    goldens: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = run_published(RUNNABLE[name], networks, goldens, tmp_path / "out", "--no-report")
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    check_results(RUNNABLE[name], tmp_path / "out", code, said.out)
    assert code == 4, said.err
    assert (tmp_path / "out" / "poses.txt").read_text() == ""


@pytest.mark.parametrize("name", some_slow((name for name in RUNNABLE if not RUNNABLE[name].dies), QUICK))
def test_it_runs_upstreams_way(
    name: str,
    networks: dict[str, Path],
    goldens: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    parity = () if name.endswith("_dust3r") else ("--parity",)
    code = run_published(RUNNABLE[name], networks, goldens, tmp_path / "out", "--no-report", *parity)
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    check_results(RUNNABLE[name], tmp_path / "out", code, said.out)
    # Upstream's recalls count every query, against the identity where no truth is known.
    assert "acc@0.25m,2deg=0.000" in said.out
    assert len((tmp_path / "out" / "poses.txt").read_text().splitlines()) == RUNNABLE[name].queries


@pytest.mark.parametrize("name", [name for name in RUNNABLE if RUNNABLE[name].dies])
def test_what_upstreams_way_cannot_do_is_said(
    name: str,
    networks: dict[str, Path],
    goldens: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_published(RUNNABLE[name], networks, goldens, tmp_path / "out", "--parity") == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert RUNNABLE[name].dies in errors[0]


def test_the_data_are_complete() -> None:
    """Every benchmark and scene of spec 50 A2, plain and coarse to fine; and the first as it is printed there."""
    assert len(PUBLISHED) == 2 * (3 + 1 + 5 + 7) + 4
    assert PUBLISHED["aachen_all"].line == (
        f"{MODEL} --dataset \"VislocAachenDayNight('/path/Aachen-Day-Night-v1.1', subscene='all', "
        "pairsfile='fire_top50', topk=20)\" --pixel_tol 5 --pnp_mode poselib "
        "--reprojection_error_diag_ratio 0.008 --output_dir /out --output_label lbl"
    )
