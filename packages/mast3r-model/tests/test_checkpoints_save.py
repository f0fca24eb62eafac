"""Writing checkpoints: upstream's layouts, round trips, nothing half-written (spec 10 S9.1, S9.3)."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from mast3r_model import AsymmetricMASt3R, ModelConfig
from mast3r_model.checkpoints import (
    checkpoint_info,
    convert,
    load_model,
    read_checkpoint,
    save_pretrained,
    save_pth,
)
from mast3r_model.errors import CheckpointError, InputError

Goldens = Callable[[str], Path]


def dpt_model(goldens: Goldens) -> tuple[AsymmetricMASt3R, dict[str, Any]]:
    expected = json.loads(goldens("model/hf_layout/dpt_model_keys.json").read_text())
    config = ModelConfig.from_dict(json.loads(expected["config_json_text"]))
    model = config.build()
    assert isinstance(model, AsymmetricMASt3R)
    return model, expected


def test_hub_layout_equals_upstreams(goldens: Goldens, tmp_path: Path) -> None:
    folder = goldens("model/hf_layout/model.safetensors").parent
    convert(folder, tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    written, golden = (
        read_checkpoint(f).tensors
        for f in (tmp_path / "out" / "model.safetensors", folder / "model.safetensors")
    )
    assert written.keys() == golden.keys()
    assert all(torch.equal(written[name], golden[name]) for name in golden)


def test_hub_layout_of_a_dpt_model_equals_upstreams(goldens: Goldens, tmp_path: Path) -> None:
    model, expected = dpt_model(goldens)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text() == expected["config_json_text"]
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == expected["safetensors_metadata"]
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert shapes == expected["keys_with_shapes"]
    absent = set(model.state_dict()) - set(shapes)
    assert absent == set(expected["state_dict_keys_absent_from_file"])
    again = load_model(tmp_path, device="cpu", for_inference=False)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert checkpoint_info(tmp_path).parameters == sum(p.numel() for p in model.parameters())


def test_pth_to_folder_to_pth(goldens: Goldens, tmp_path: Path) -> None:
    source = goldens("model/mast3r_catmlpdpt.pth")
    convert(source, tmp_path / "folder")
    back = convert(tmp_path / "folder", tmp_path / "back.pth")
    first, last = read_checkpoint(source), read_checkpoint(back)
    assert list(last.tensors) == list(first.tensors)
    for name, tensor in last.tensors.items():
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert torch.equal(tensor, first.tensors[name])
    assert first.config() == last.config()
    content = torch.load(back, weights_only=False)  # as upstream would
    assert isinstance(content["args"], argparse.Namespace)
    assert "landscape_only=True" in content["args"].model
    head = "downstream_head1.dpt.scratch"
    tied = [content["model"][f"{head}.{name}.weight"] for name in ("layer2_rn", "layer_rn.1")]
    assert tied[0].data_ptr() == tied[1].data_ptr()
    assert "mask_token" in content["model"]


def test_half_size_folder(goldens: Goldens, tmp_path: Path) -> None:
    source = goldens("model/dust3r_linear.pth")
    full, half = convert(source, tmp_path / "full"), convert(source, tmp_path / "half", dtype="fp16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (full, half)]
    assert sizes[1] < 0.55 * sizes[0]
    assert checkpoint_info(half).dtypes == ("float16",)
    model = load_model(half, device="cpu")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with torch.no_grad():
        model.enc_norm.weight[0] = 1e6
    with pytest.raises(CheckpointError, match=r"enc_norm\.weight does not fit into fp16"):
        save_pretrained(model, tmp_path / "overflow", dtype="fp16")
    assert not (tmp_path / "overflow" / "config.json").exists()


def test_training_entries_are_kept(goldens: Goldens, tmp_path: Path) -> None:
    model = load_model(goldens("model/dust3r_linear.pth"), device="cpu", for_inference=False)
    path = save_pth(model, tmp_path / "a.pth", training={"epoch": 3, "best_so_far": 0.25})
    assert checkpoint_info(path).epoch == 3
    assert read_checkpoint(path).training["best_so_far"] == 0.25


def test_wrong_destinations(goldens: Goldens, tmp_path: Path) -> None:
    source = goldens("model/dust3r_linear.pth")
    with pytest.raises(InputError, match=r"a\.safetensors"):
        convert(source, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="float32 only"):
        convert(source, tmp_path / "a.pth", dtype="fp16")


def test_written_files_are_readable_by_others(goldens: Goldens, tmp_path: Path) -> None:
    convert(goldens("model/dust3r_linear.pth"), tmp_path)
    modes = {(tmp_path / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_leaves_nothing(goldens: Goldens, tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk: writes fail in the middle with an OSError."""
    script = """
        import resource, signal, sys
        from mast3r_model import OutputError, convert
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        for target in sys.argv[2:]:
            try:
                convert(sys.argv[1], target)
            except OutputError as error:
                print(error)
    """
    targets = [str(tmp_path / "a.pth"), str(tmp_path / "folder")]
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(script),
        str(goldens("model/dust3r_linear.pth")),
        *targets,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    complaints = ran.stdout.splitlines()
    assert len(complaints) == 2
    assert all(
        line.startswith(f"cannot write {path}") for line, path in zip(complaints, targets, strict=True)
    )
    assert [name for _, _, files in os.walk(tmp_path) for name in files] == []
