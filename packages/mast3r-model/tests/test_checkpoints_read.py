"""Finding and reading checkpoints; refusing hostile, damaged and foreign ones (spec 10 S9.1, S9.5)."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from mast3r_model import ModelConfig, hookimpl, registry, temporary_plugin
from mast3r_model.checkpoints import (
    Location,
    ModelPreset,
    checkpoint_info,
    download,
    load_croco,
    load_model,
    local_path,
    locate,
    read_checkpoint,
    read_pth,
)
from mast3r_model.errors import CheckpointError, UnsafeCheckpointError

Goldens = Callable[[str], Path]
OFFICIAL = "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric"


class Hostile:
    """Unpickling this runs a command that leaves a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def write_hostile(path: Path, marker: Path, *, kind: str) -> Path:
    content = {"model": {"a": torch.zeros(2)}, "args": Hostile(marker)}
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(Hostile(marker)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "archive")
    return path


@pytest.mark.parametrize("kind", ["archive", "legacy", "plain pickle"])
def test_hostile_pickles_are_refused_and_never_run(kind: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    path = write_hostile(tmp_path / "evil.pth", marker, kind=kind)
    for read in (load_model, read_checkpoint, read_pth, checkpoint_info):
        with pytest.raises(
            UnsafeCheckpointError, match=rf"evil\.pth.*{os.system.__module__}\.system"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)
    assert not marker.exists()


def test_hostile_bin_in_a_folder_is_refused(tmp_path: Path, goldens: Goldens) -> None:
    (tmp_path / "config.json").write_bytes(goldens("model/hf_layout/config.json").read_bytes())
    write_hostile(tmp_path / "pytorch_model.bin", tmp_path / "executed", kind="archive")
    with pytest.raises(UnsafeCheckpointError, match="system"):
        load_model(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_foreign_classes_need_explicit_trust(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pth"
    torch.save({"args": argparse.Namespace(model="x"), "path": Path("a")}, path)
    with pytest.raises(UnsafeCheckpointError, match="pathlib"):
        read_pth(path)
    assert read_pth(path, trusted_globals=[type(Path())])["path"] == Path("a")
    with pytest.raises(UnsafeCheckpointError, match="pathlib"):
        read_pth(path)


@pytest.mark.parametrize(
    "name", ["missing", "empty", "text", "a word", "cut", "cut archive", "list", "not tensors"]
)
def test_damaged_files_are_named(name: str, tmp_path: Path, goldens: Goldens) -> None:
    path = tmp_path / "weights.pth"
    whole = goldens("model/dust3r_linear.pth").read_bytes()
    if name == "list":
        torch.save([torch.zeros(2)], path)
    elif name == "not tensors":
        torch.save({"model": {"a": 3}, "args": argparse.Namespace(model="x()")}, path)
    elif name != "missing":
        content = {
            "empty": b"",
            "text": b"hello " * 50,
            "a word": b"text\n",
            "cut": whole[: len(whole) // 2],
            "cut archive": whole[:-9],
        }
        path.write_bytes(content[name])
    with pytest.raises(CheckpointError, match=r"weights\.pth") as error:
        load_model(path, device="cpu")
    assert not isinstance(error.value, UnsafeCheckpointError)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A checkpoint of each layout, of a few hundred bytes to a few thousand."""
    folder = tmp_path_factory.mktemp("small")
    content = {"model": {"a.weight": torch.ones(3)}, "args": argparse.Namespace(model="CroCoNet()")}
    torch.save(content, folder / "archive.pth")
    torch.save(content, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file({"a.weight": torch.ones(3)}, folder / "a.safetensors")
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_bytes_break_the_reader(
    data: st.DataObject, small_files: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a file holds: it is read, or refused by our own error."""
    content = data.draw(
        st.binary(max_size=60) | st.text(max_size=30).map(str.encode) | st.sampled_from(small_files)
    )
    if len(content) > 100:
        at = data.draw(st.integers(0, len(content) - 1))
        content = (
            content[:at] + data.draw(st.binary(max_size=8)) + content[at + data.draw(st.integers(0, 8)) :]
        )
    path = tmp_path_factory.getbasetemp() / "fuzzed.pth"
    path.write_bytes(content)
    with suppress(CheckpointError):
        read_checkpoint(path)


def test_damaged_folders_are_named(tmp_path: Path, goldens: Goldens) -> None:
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors"):
        load_model(tmp_path, device="cpu")
    weights = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(100)}, weights)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match="does not say of which network"):
        load_model(weights, device="cpu")
    (tmp_path / "config.json").write_text("{ no json")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(tmp_path, device="cpu")
    config = json.loads(goldens("model/hf_layout/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"head_typ": "dpt"}))
    with pytest.raises(CheckpointError, match=r"config\.json.*head_typ") as error:
        load_model(tmp_path, device="cpu")
    assert "head_type" in (error.value.hint or "")
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*truncated"):
        load_model(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "text", ["__import__('os').system('x')", "AsymmetricMASt3R(", "Unknown(a=1)", "print(1)"]
)
def test_model_strings_are_data(text: str, tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(model=text), "model": {"a": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth") as error:
        load_model(tmp_path / "a.pth", device="cpu")
    assert not isinstance(error.value, UnsafeCheckpointError)


def test_training_layout_is_told(goldens: Goldens) -> None:
    stored = read_checkpoint(goldens("model/dust3r_linear.pth"))
    assert set(stored.training) == {"args", "optimizer", "scaler", "epoch", "best_so_far"}
    assert stored.architecture == "AsymmetricCroCo3DStereo"
    info = checkpoint_info(goldens("model/dust3r_linear.pth"))
    expected = json.loads(goldens("model/models.json").read_text())["dust3r_linear"]
    assert (info.parameters, info.keys) == (expected["num_params"], expected["num_state_keys"])
    assert info.config == ModelConfig.from_expression(expected["model_string"])
    assert info.dtypes == ("float32",)
    assert info.licence is None


def test_unknown_names_list_the_presets() -> None:
    with pytest.raises(CheckpointError, match=rf"'nanno'.*{OFFICIAL}.*nano") as error:
        load_model("nanno")
    assert "nano" in (error.value.hint or "")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_model("some/deep/folder")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_model("weights.pth")


def test_presets_and_hub_ids_are_located() -> None:
    official = locate(OFFICIAL)
    assert official == locate(f"naver/{OFFICIAL}")
    assert (official.kind, official.text) == ("hub", f"naver/{OFFICIAL}")
    assert official.preset is not None
    assert official.preset.licence == "CC BY-NC-SA 4.0"
    assert locate("someone/other") == type(official)("hub", "someone/other")
    for name in registry("models"):
        assert isinstance(registry("models")[name], ModelPreset)


def test_a_folder_hides_a_hub_preset_but_not_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / OFFICIAL).mkdir()
    (tmp_path / "nano").mkdir()
    assert (locate(OFFICIAL).kind, locate(OFFICIAL).text) == ("path", OFFICIAL)
    assert locate("nano").preset is not None
    assert locate("./nano").preset is None


def test_plugins_bring_presets(tmp_path: Path, goldens: Goldens) -> None:
    class Plugin:
        @hookimpl
        def mast3r_models(self) -> dict[str, ModelPreset]:
            return {
                "mine": ModelPreset(str(goldens("model/dust3r_linear.pth")), "mine", "MIT"),
                "gone": ModelPreset(str(tmp_path / "a" / "b" / "c"), "gone", "MIT"),
            }

    with temporary_plugin(Plugin(), "test-presets"):
        assert checkpoint_info("mine").licence == "MIT"
        with pytest.raises(CheckpointError, match="files of the preset 'gone' are missing"):
            load_model("gone")


def test_offline_tells_how_to_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("cannot find the file, and no connection\nmore")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(CheckpointError, match="cannot be reached") as error:
        load_model(OFFICIAL, device="cpu")
    assert error.value.hint == f"with internet access, run: mast3r models download naver/{OFFICIAL}"


def test_hub_download_falls_back_to_the_pickle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, goldens: Goldens
) -> None:
    (tmp_path / "config.json").write_bytes(goldens("model/hf_layout/config.json").read_bytes())
    asked = []

    def fetch(repository: str, name: str) -> str:
        asked.append((repository, name))
        if name == "model.safetensors":
            raise EntryNotFoundError("404")
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert download("someone/model") == tmp_path
    assert [name for _, name in asked] == ["config.json", "model.safetensors", "pytorch_model.bin"]
    (tmp_path / "pytorch_model.bin").touch()
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(tmp_path / "config.json"))
    asked.clear()
    assert local_path("someone/model") == tmp_path
    assert not asked


def test_licence_comes_from_the_model_card(tmp_path: Path, goldens: Goldens) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(goldens("model/dust3r_linear.pth").read_bytes())
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# Card\n")
    assert checkpoint_info(path).licence == "apache-2.0"


@pytest.mark.parametrize("name", ["croco_rope", "croco_cosine", "croco_cosine_rect"])
def test_croco_layouts(name: str, goldens: Goldens) -> None:
    path = goldens(f"model/{name}.pth")
    model = load_croco(path)
    stored = read_checkpoint(path)
    assert all(torch.equal(value, stored.tensors[key]) for key, value in model.state_dict().items())
    assert checkpoint_info(path).architecture == "CroCoNet"
    with pytest.raises(CheckpointError, match="CroCo's pretraining network"):
        load_model(path, device="cpu")


def test_croco_first_release_has_defaults(tmp_path: Path) -> None:
    tensors = {"prediction_head.weight": torch.zeros(2), "enc_pos_embed": torch.zeros(2)}
    torch.save({"model": tensors}, tmp_path / "CroCo.pth")
    stored = read_checkpoint(tmp_path / "CroCo.pth")
    assert (stored.architecture, stored.keywords) == ("CroCoNet", {})
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not CroCoNet"):
        load_croco(tmp_path / "other.pth")


def test_checkpoints_on_the_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *positional: Any) -> None:
            super().__init__(*positional, directory=str(tmp_path))

        def log_message(self, form: str, *values: Any) -> None:
            asked.append(self.path)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    (tmp_path / "a b.pth").write_bytes(b"weights")
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a%20b.pth"
        assert locate(url) == Location("url", url)
        path = local_path(url)
        assert (path.name, path.read_bytes()) == ("a b.pth", b"weights")
        assert download(url) == local_path(url) == path
        assert asked == ["/a%20b.pth"]
        with pytest.raises(CheckpointError, match=r"cannot download .*/missing\.pth: .*404"):
            local_path(url.replace("a%20b", "missing"))
        server.shutdown()
    assert local_path(url) == path
    with pytest.raises(CheckpointError, match="cannot download"):
        local_path(url.replace("a%20b", "b"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="nothing may be downloaded"):
        local_path(url.replace("a%20b", "b"))
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == ["a b.pth"]
