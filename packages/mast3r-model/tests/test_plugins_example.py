"""The example plugin: found by name after an installation, and its things work."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_model import (
    AsymmetricCroCo3DStereo,
    AsymmetricMASt3R,
    ConfigError,
    parse_expression,
    temporary_plugin,
)
from mast3r_model.cli import root, run

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLE = REPOSITORY / "examples" / "plugins" / "mast3r-example-plugin"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example plugin is not beside this package")


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    with temporary_plugin(importlib.import_module("mast3r_example_plugin.plugin"), "mast3r-example-plugin"):
        yield


@pytest.mark.usefixtures("_registered")
def test_head() -> None:
    widths = {"enc_embed_dim": 32, "dec_embed_dim": 32, "enc_num_heads": 2, "dec_num_heads": 2}
    settings = {"enc_depth": 1, "dec_depth": 1, "pos_embed": "RoPE100", "head_type": "token-mlp", **widths}
    model = AsymmetricCroCo3DStereo(output_mode="pts3d", img_size=(64, 64), **settings).eval()
    with torch.no_grad():
        (pair,) = model.decode_pairs(model.encode([torch.zeros(3, 32, 48), torch.zeros(3, 48, 32)]), [(0, 1)])
    assert pair.pts3d1.shape == (32, 48, 3)
    assert pair.pts3d2_in_view1.shape == (48, 32, 3)
    assert pair.conf1 is not None
    assert pair.conf1.shape == (32, 48)
    with pytest.raises(ConfigError, match="token-mlp"):
        AsymmetricMASt3R(output_mode="pts3d+desc24", img_size=(64, 64), two_confs=True, **settings)


@pytest.mark.usefixtures("_registered")
def test_loss() -> None:
    pytest.importorskip("mast3r_train")
    huber = parse_expression("Huber(delta=1.0)").build(["losses"])
    points = torch.tensor([[0.5, 0, 0], [3.0, 0, 0]])
    distances = huber.distance(points, torch.zeros(2, 3))  # type: ignore[attr-defined]
    torch.testing.assert_close(distances, torch.tensor([0.125, 2.5]))
    assert "Huber" in repr(parse_expression("Regr3D(Huber(delta=1.0))").build(["losses"]))


@pytest.mark.usefixtures("_registered")
def test_dataset() -> None:
    pytest.importorskip("mast3r_train")
    pairs = parse_expression("6 @ SlidingWall(n=4, resolution=(32, 16))").build(["datasets"])
    assert len(pairs) == 6  # type: ignore[arg-type]
    first, second = pairs[3, 0]  # type: ignore[index]
    (x1, y1), (x2, y2) = first["corres"].T, second["corres"].T
    assert (x1 > x2).all()
    assert torch.equal(first["img"][:, y1, x1], second["img"][:, y2, x2])
    np.testing.assert_allclose(first["pts3d"][y1, x1], second["pts3d"][y2, x2], atol=1e-5)
    local = first["pts3d"][y1, x1] - second["camera_pose"][:3, 3]
    projected = local @ second["camera_intrinsics"].T
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], second["corres"], atol=1e-3)
    again = pairs[3, 0][0]  # type: ignore[index]
    assert torch.equal(again["img"], first["img"])
    assert again["rng"] == first["rng"]


@pytest.mark.usefixtures("_registered")
def test_transform() -> None:
    pytest.importorskip("mast3r_train")
    text = "SlidingWall(n=4, resolution=(32, 16), transform=RandomGray(p={}))"
    coloured, gray = (parse_expression(text.format(p)).build(["datasets", "transforms"]) for p in (0.0, 1.0))
    images = [dataset[1, 0][0]["img"] for dataset in (coloured, gray)]  # type: ignore[index]
    assert [image.shape for image in images] == [(3, 16, 32)] * 2
    assert [torch.equal(image[0], image[1]) for image in images] == [False, True]
    assert -1 <= images[1].min() < images[1].max() <= 1


@pytest.mark.usefixtures("_registered")
def test_pnp_solver() -> None:
    visloc = pytest.importorskip("mast3r_visloc")
    camera = visloc.Camera("SIMPLE_RADIAL", 640, 480, (500, 320, 240, -0.05))
    random = np.random.default_rng(0)
    points = random.uniform([-2, -2, 4], [2, 2, 9], (120, 3))
    turn = np.array([[0.96, 0.0, 0.28], [0.0, 1.0, 0.0], [-0.28, 0.0, 0.96]])
    shift = np.array([0.3, -0.2, 0.5])
    pixels = visloc.project(camera, points @ turn.T + shift)
    pixels[:40] = random.uniform(0, 480, (40, 2))
    found = visloc.estimate_pose(pixels, points, camera, solver="linear", threshold=4.0, refine=False)
    assert found.num_inliers >= 75
    np.testing.assert_allclose(found.cam_from_world[:3, :3], turn, atol=1e-3)
    np.testing.assert_allclose(found.cam_from_world[:3, 3], shift, atol=1e-2)


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds the plugin as an installed distribution, by its entry point."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "mast3r_example_plugin-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    entry_points = project["entry-points"]["mast3r"].items()
    (info / "entry_points.txt").write_text("[mast3r]\n" + "".join(f"{k} = {v}\n" for k, v in entry_points))
    path = os.pathsep.join([str(info.parent), str(EXAMPLE / "src")])
    environment = {name: value for name, value in os.environ.items() if name != "MAST3R_PLUGINS"}
    return {**environment, "PYTHONPATH": path}


@pytest.mark.slow
def test_example_trains(tmp_path: Path, installed: dict[str, str]) -> None:
    """Its dataset, transform, loss and head by name in one command, in a process of its own."""
    pytest.importorskip("mast3r_train")
    model = (
        "AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(32, 32), head_type='token-mlp', enc_embed_dim=32, "
        "enc_depth=1, enc_num_heads=2, dec_embed_dim=32, dec_depth=1, dec_num_heads=2, landscape_only=False)"
    )
    flags = {
        "train_dataset": "4 @ SlidingWall(n=4, resolution=(32, 16), transform=RandomGray(p=0.5))",
        "test_dataset": "2 @ SlidingWall(n=2, resolution=(32, 16), seed=1)",
        "model": model,
        "train_criterion": "ConfLoss(Regr3D(Huber(delta=0.2)), alpha=0.2)",
        "test_criterion": "Regr3D(Huber(delta=0.2))",
        "batch_size": "2",
        "epochs": "1",
        "num_workers": "1",
        "device": "cpu",
        "output_dir": str(tmp_path / "run"),
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, "-m", "mast3r_model", "train", *words], capture_output=True, text=True, env=installed
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoint-final.pth").is_file()
    assert '"2 @ SlidingWall_loss_med": ' in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.usefixtures("_registered")
def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root(), ["hello", "Ada", "--times", "2"]) == 0
    assert capsys.readouterr().out == "hello Ada\nhello Ada\n"


@pytest.mark.slow
def test_installed_into_a_fresh_environment(tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    environment = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", str(environment)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(environment)]
    # Discovery needs neither torch nor any other of the large dependencies.
    subprocess.run([*install, "click", "pluggy"], check=True)
    packages = [
        *(REPOSITORY / "packages" / f"mast3r-{part}" for part in ("model", "train", "visloc")),
        EXAMPLE,
    ]
    subprocess.run([*install, "--no-deps", *map(str, packages)], check=True)
    line = [str(environment / "bin" / "mast3r"), "plugins", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    registered = json.loads(done.stdout)["result"]["registered"]
    named = {
        "heads": "token-mlp",
        "datasets": "SlidingWall",
        "transforms": "RandomGray",
        "losses": "Huber",
        "pnp_solvers": "linear",
        "commands": "hello",
    }
    for kind, name in named.items():
        assert registered[kind][name]["plugin"] == "mast3r-example-plugin"
    greeting = subprocess.run(
        [str(environment / "bin" / "mast3r"), "hello"], capture_output=True, text=True, check=True
    )
    assert greeting.stdout == "hello world\n"
