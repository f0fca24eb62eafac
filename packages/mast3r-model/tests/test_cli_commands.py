"""This package's own commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mast3r_model import (
    AsymmetricCroCo3DStereo,
    ModelPreset,
    hookimpl,
    registry,
    save_pretrained,
    temporary_plugin,
)
from mast3r_model.cli import root, run
from mast3r_model.cli.doctor import run_self_test

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of a few thousand random parameters."""
    torch.manual_seed(0)
    widths = {"enc_embed_dim": 32, "dec_embed_dim": 32, "enc_num_heads": 2, "dec_num_heads": 2}
    model = AsymmetricCroCo3DStereo(
        enc_depth=1,
        dec_depth=1,
        **widths,
        head_type="linear",
        output_mode="pts3d",
        img_size=(64, 64),
        pos_embed="RoPE100",
    )
    folder = tmp_path_factory.mktemp("tiny")
    save_pretrained(model, folder)
    return folder


@pytest.fixture
def _preset(tiny_checkpoint: Path) -> Iterator[None]:
    class Plugin:
        @hookimpl
        def mast3r_models(self) -> dict[str, object]:
            return {"tiny": ModelPreset(str(tiny_checkpoint), "random numbers", "Apache-2.0")}

    with temporary_plugin(Plugin(), "of-the-test"):
        yield


def document(capsys: Capture, *words: str, code: int = 0) -> dict[str, object]:
    assert run(root(), [*words, "--json"]) == code
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def result(capsys: Capture, *words: str) -> dict[str, object]:
    found = document(capsys, *words)["result"]
    assert isinstance(found, dict)
    return found


def test_plugins(capsys: Capture) -> None:
    everything = result(capsys, "plugins")
    registered = everything["registered"]
    assert isinstance(registered, dict)
    assert registered["heads"]["dpt"]["plugin"] == "mast3r-model"
    assert set(result(capsys, "plugins", "heads")["registered"]) == {"heads"}  # type: ignore[call-overload]
    assert run(root(), ["plugins", "commands"]) == 0
    assert "doctor" in capsys.readouterr().out
    assert run(root(), ["plugins", "nonsense"]) == 2


def test_plugins_shows_conflicts(capsys: Capture) -> None:
    class Twin:
        @hookimpl
        def mast3r_heads(self) -> dict[str, object]:
            return {"dpt": len}

    with temporary_plugin(Twin(), "twin"):
        found = document(capsys, "plugins", code=3)
    assert "twin" in str(found["warnings"])
    assert "mast3r-model" in str(found["warnings"])


def test_doctor(capsys: Capture) -> None:
    report = result(capsys, "doctor", "--no-self-test")
    assert {"versions", "system", "devices", "rotary_embedding", "plugins", "caches", "optional"} <= set(
        report
    )
    assert "cpu" in report["devices"]  # type: ignore[operator]
    assert report["rotary_embedding"]["used"]  # type: ignore[index]
    assert run(root(), ["doctor", "--no-self-test"]) == 0
    assert "used by default" in capsys.readouterr().out


@pytest.mark.usefixtures("_preset")
def test_self_test(tiny_checkpoint: Path) -> None:
    assert run_self_test("tiny")["state"] == "passed"
    assert run_self_test("unknown-model")["state"] == "failed"


@pytest.mark.usefixtures("_preset")
def test_models(capsys: Capture, tiny_checkpoint: Path, tmp_path: Path) -> None:
    listed = {row["name"]: row for row in result(capsys, "models", "list")["models"]}  # type: ignore[attr-defined]
    assert listed["tiny"]["state"] == "on this disk"
    assert set(listed) == set(registry("models").names())
    info = result(capsys, "models", "info", "tiny")
    assert info["architecture"] == "AsymmetricCroCo3DStereo"
    assert info["licence"] == "Apache-2.0"
    assert info["config"]["head_type"] == "linear"  # type: ignore[index]
    assert run(root(), ["models", "info", str(tiny_checkpoint)]) == 0
    assert "head_type = 'linear'" in capsys.readouterr().out
    assert result(capsys, "models", "path", "tiny")["path"] == str(tiny_checkpoint)

    target = tmp_path / "converted.pth"
    assert run(root(), ["models", "convert", "tiny", str(target)]) == 0
    assert target.is_file()
    assert run(root(), ["models", "convert", "tiny", str(target)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(root(), ["models", "convert", "tiny", str(target), "--overwrite"]) == 0
    assert run(root(), ["models", "convert", str(target), str(tmp_path / "back")]) == 0
    assert (tmp_path / "back" / "model.safetensors").is_file()


def test_unknown_model(capsys: Capture) -> None:
    for words in (["models", "info", "nanno"], ["models", "path", "nanno"]):
        assert run(root(), words) == 1
        assert "did you mean nano" in capsys.readouterr().err


def test_cache(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--naver--MASt3R_Small" / "snapshots" / "0123abcd"
    other = tmp_path / "models--someone--unrelated" / "snapshots" / "0123abcd"
    for folder in (snapshot, other):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    monkeypatch.setattr("mast3r_model.cli.cache.cache_folder", lambda: tmp_path)
    assert [row["id"] for row in result(capsys, "cache", "info")["downloads"]] == ["naver/MASt3R_Small"]  # type: ignore[attr-defined]
    assert run(root(), ["cache", "clear", "someone/unrelated", "--yes"]) == 1
    assert "not among the downloads" in capsys.readouterr().err
    assert result(capsys, "cache", "clear", "--yes")["deleted"] == ["naver/MASt3R_Small"]
    assert not snapshot.exists()
    assert other.exists()
    assert run(root(), ["cache", "info"]) == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: Capture) -> None:
    assert run(root(), ["completion", shell]) == 0
    assert "_MAST3R_COMPLETE" in capsys.readouterr().out


def test_every_command_of_this_package_has_help_with_an_example(capsys: Capture) -> None:
    commands = registry("commands")
    for name in commands.names():
        if commands.owner(name) == "mast3r-model":
            assert run(root(), [*name.split(), "--help"]) == 0
            examples = capsys.readouterr().out.partition("Examples:\n")[2].splitlines()
            assert len([line for line in examples if f"mast3r {name}" in line]) >= 2
