"""A cache from other weights, of something else, or damaged: never used unnoticed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mast3r_model import load_model

from .conftest import Commands, differences


@pytest.fixture(scope="module")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in network, each weight a little different."""
    folder = tmp_path_factory.mktemp("weights") / "other"
    model = load_model()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(1 + 0.01 * torch.randn(weights.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


def test_a_cache_from_other_weights(
    commands: Commands, place: Path, undisturbed: Path, other_weights: Path
) -> None:
    shutil.copytree(undisturbed / "cache", place / "shared cache")
    arguments = ("photos", "--cache", "shared cache", "-m", other_weights)
    result = commands.sfm(*arguments, "-o", "with other weights", folder=place)
    assert result.code == 0, result.stderr
    fresh = commands.sfm("photos", "-o", "fresh", "-m", other_weights, folder=place)
    assert fresh.code == 0, fresh.stderr
    different = differences(place / "with other weights", place / "fresh")
    assert [name for name in different if not name.startswith("cache/")] == []
    assert "array images.0.cam2world" in differences(place / "fresh", undisturbed)
    pairs = list((place / "shared cache" / "pairs").rglob("*.safetensors"))
    assert len(pairs) == 2 * 6  # those of the first network stay


def test_damaged_and_exchanged_files(commands: Commands, place: Path, undisturbed: Path) -> None:
    folder = place / "damaged"
    shutil.copytree(undisturbed, folder)
    pairs = sorted((folder / "cache" / "pairs").rglob("*.safetensors"))
    cut, flipped, exchanged, foreign = pairs[:4]
    cut.write_bytes(cut.read_bytes()[:1000])
    data = bytearray(flipped.read_bytes())
    data[-200] ^= 1
    flipped.write_bytes(bytes(data))
    shutil.copy(pairs[5], exchanged)
    with safe_open(foreign, "pt") as file:
        names = list(file.keys())
    assert names
    save_file({name: values * 0 for name, values in load_file(foreign).items()}, foreign)
    result = commands.sfm("photos", "-o", "damaged", folder=place)
    assert result.code == 0, result.stderr
    for path in (cut, flipped, exchanged, foreign):
        name = path.relative_to(place).as_posix()
        assert sum(f"{name} is broken" in line for line in result.stderr.splitlines()) == 1, name
    assert differences(folder, undisturbed) == []


def test_a_manifest_of_something_else(commands: Commands, place: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "an apple"}))
    result = commands.sfm("photos", "-o", "elsewhere", "--cache", tmp_path, folder=place)
    assert result.code == 1
    assert f"{tmp_path} is no cache of predictions" in result.stderr
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"format": "an apple"}
    assert not (place / "elsewhere").exists()
