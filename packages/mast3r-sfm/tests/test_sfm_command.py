"""``mast3r sfm`` from photos to a folder, in real processes; bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from mast3r_sfm import Scene, read_cameras

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
needs_examples = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the example photos lie in the repository only"
)


def sfm(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mast3r_model", "sfm", *map(str, arguments), "--device", "cpu"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sfm") / "scene"
    result = sfm(EXAMPLES / "a.jpg", EXAMPLES / "b.jpg", "-o", folder, "--size", 224)
    assert result.returncode == 0, result.stderr
    return folder


@needs_examples
def test_two_photos_become_a_scene(scene_folder: Path) -> None:
    expected = [
        "sparse/0",
        "transforms.json",
        "scene.glb",
        "points.ply",
        "depth",
        "confidence",
        "report.json",
    ]
    assert [name for name in expected if not (scene_folder / name).exists()] == []
    scene = Scene.load(scene_folder)
    assert [image.name for image in scene.images] == ["a.jpg", "b.jpg"]
    assert len(scene.points) > 1000
    assert len(scene.tracks) > 50
    model = pycolmap.Reconstruction(scene_folder / "sparse" / "0")
    assert model.num_reg_images() == 2
    assert model.compute_mean_reprojection_error() < 3
    report = json.loads((scene_folder / "report.json").read_text())
    assert report["placed"] == 2
    assert report["pairs"][0]["matches"] > 100


@needs_examples
def test_the_relative_rotation_of_the_example_photos_is_near_the_truth(scene_folder: Path) -> None:
    found = read_cameras(scene_folder).cam2world
    with np.load(EXAMPLES / "truth.npz") as file:
        truth = [file[f"cam2world{k}"].astype(np.float64) for k in (0, 1)]
    relative = [np.linalg.inv(first) @ second for first, second in (found, truth)]
    cosine = (np.trace(relative[0][:3, :3].T @ relative[1][:3, :3]) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 12  # of 25; nano at 224 pixels


@needs_examples
def test_again_it_computes_nothing_and_gives_the_same(scene_folder: Path) -> None:
    before = Scene.load(scene_folder)
    kept = {path: path.stat().st_mtime_ns for path in (scene_folder / "cache").rglob("*.safetensors")}
    assert kept
    result = sfm(EXAMPLES / "a.jpg", EXAMPLES / "b.jpg", "-o", scene_folder, "--size", 224)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    after = Scene.load(scene_folder)
    for one, other in zip(before.images, after.images, strict=True):
        np.testing.assert_array_equal(one.cam2world, other.cam2world)
        np.testing.assert_array_equal(one.depth, other.depth)


def test_refusals_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.jpg").write_text("no picture")
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        "holds other files": [broken, "-o", tmp_path],
        "no photos in": [empty, "-o", tmp_path / "s1"],
    }
    for complaint, arguments in cases.items():
        result = sfm(*arguments)
        assert result.returncode == 1, (complaint, result.stderr)
        assert complaint in result.stderr
        assert "Traceback" not in result.stderr


@needs_examples
def test_one_photo_is_not_enough(tmp_path: Path) -> None:
    result = sfm(EXAMPLES / "a.jpg", "-o", tmp_path / "scene")
    assert result.returncode == 1
    assert "two photos or more" in result.stderr


@needs_examples
def test_a_reconstruction_does_not_import_torchs_compiler(scene_folder: Path, tmp_path: Path) -> None:
    """It takes seconds, in every process."""
    program = (
        "import sys; from mast3r_model import load_model; from mast3r_sfm import reconstruct;"
        f"reconstruct([{str(EXAMPLES / 'a.jpg')!r}, {str(EXAMPLES / 'b.jpg')!r}], load_model(), size=224,"
        f"cache={str(scene_folder / 'cache')!r}); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
