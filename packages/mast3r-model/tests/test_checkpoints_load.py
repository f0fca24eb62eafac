"""Loading into networks: upstream's numbers, names and shapes, memory, ties (spec 10 S9.2 to S9.5)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mast3r_model import AsymmetricCroCo3DStereo, AsymmetricMASt3R, ModelConfig
from mast3r_model.checkpoints import (
    KeyMismatchError,
    StoredModel,
    convert,
    load_model,
    read_checkpoint,
    save_pretrained,
)
from mast3r_model.checkpoints.loading import build_with_weights
from mast3r_model.errors import CheckpointError, ConfigError, DeviceError

Goldens = Callable[[str], Path]

MODELS = [
    "dust3r_linear",
    "dust3r_dpt",
    "mast3r_catmlpdpt",
    "mast3r_oneconf",
    "mast3r_catconv",
    "dust3r_linear_modes",
    "dust3r_linear_noconf",
]
SMALL = {
    "pos_embed": "RoPE100", "img_size": (32, 32), "enc_embed_dim": 16, "enc_depth": 1, "enc_num_heads": 1,
    "dec_embed_dim": 16, "dec_num_heads": 1,
}  # fmt: skip


def small_mast3r(**keywords: Any) -> AsymmetricMASt3R:
    return AsymmetricMASt3R(
        **SMALL, **({"dec_depth": 2, "head_type": "catconv", "output_mode": "pts3d+desc4"} | keywords)
    )


def check_case(model: nn.Module, arrays: Any, prefix: str = "") -> None:
    """Run a golden pair and compare every output."""
    views = [
        {
            "img": torch.from_numpy(arrays[f"{prefix}img{i}"]),
            "true_shape": torch.from_numpy(arrays[f"{prefix}true_shape{i}"]),
            "instance": arrays[f"{prefix}instance{i}"].tolist(),
        }
        for i in (1, 2)
    ]
    with torch.no_grad():
        predictions = model(*views)
    compared = 0
    for i, prediction in enumerate(predictions, start=1):
        for key, value in prediction.items():
            name = f"{prefix}pred{i}_{key}"
            step = 1 if name in arrays else 3
            golden = arrays[name if step == 1 else f"{name}__s3"]
            torch.testing.assert_close(
                value[:, ::step, ::step], torch.from_numpy(golden), rtol=1e-4, atol=5e-5
            )
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", MODELS)
def test_upstream_files_give_upstream_numbers(name: str, goldens: Goldens) -> None:
    model = load_model(goldens(f"model/{name}.pth"), device="cpu")
    expected = json.loads(goldens("model/models.json").read_text())[name]
    assert type(model).__name__ == expected["model_string"].partition("(")[0]
    assert sum(p.numel() for p in model.parameters()) == expected["num_params"]
    assert len(model.state_dict()) == expected["num_state_keys"]
    assert not model.training
    assert model.precision is not None
    assert model.config == ModelConfig.from_expression(expected["model_string"]).for_inference()
    check_case(model, np.load(goldens(f"model/{name}.npz")), "pair/")


def test_hub_folder_gives_upstream_numbers(goldens: Goldens) -> None:
    model = load_model(goldens("model/hf_layout/model.safetensors").parent, device="cpu")
    check_case(model, np.load(goldens("model/hf_layout/outputs.npz")))


def test_as_stored(goldens: Goldens) -> None:
    path = goldens("model/dust3r_linear.pth")
    stored = load_model(path, device="cpu", for_inference=False)
    assert stored.config.patch_embed_cls == "ManyAR_PatchEmbed"
    assert stored.config.landscape_only
    assert stored.precision is None
    assert load_model(path, device="cpu", for_inference=False, dtype="fp32").precision is not None
    assert not load_model(path, device="cpu").config.landscape_only


def test_overrides_replace_what_is_stored(tmp_path: Path) -> None:
    model = small_mast3r()
    model.save_pretrained(tmp_path)
    loaded = AsymmetricMASt3R.from_pretrained(tmp_path, device="cpu", landscape_only=True, img_size=64)
    assert loaded.config.landscape_only
    assert loaded.config.img_size == (64, 64)
    assert loaded.config.patch_embed_cls == "PatchEmbedDust3R"
    assert torch.equal(loaded.enc_norm.weight, model.enc_norm.weight)
    with pytest.raises(ConfigError, match="'landscape'") as error:
        AsymmetricMASt3R.from_pretrained(tmp_path, device="cpu", landscape=True)
    assert "landscape_only" in (error.value.hint or "")
    with pytest.raises(KeyMismatchError, match=r"enc_blocks\.1\.norm1"):
        AsymmetricMASt3R.from_pretrained(tmp_path, device="cpu", enc_depth=2)


def test_a_dust3r_file_is_no_mast3r(goldens: Goldens) -> None:
    path = goldens("model/dust3r_linear.pth")
    assert type(AsymmetricCroCo3DStereo.from_pretrained(path, device="cpu")) is AsymmetricCroCo3DStereo
    with pytest.raises(CheckpointError, match="AsymmetricCroCo3DStereo, not an AsymmetricMASt3R"):
        AsymmetricMASt3R.from_pretrained(path)


def test_unknown_device(goldens: Goldens) -> None:
    with pytest.raises(DeviceError, match="cuda:77"):
        load_model(goldens("model/dust3r_linear.pth"), device="cuda:77")


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a checkpoint with another state dict."""
    stored = read_checkpoint(source)
    tensors = dict(stored.tensors)
    change(tensors)
    torch.save({"args": stored.training["args"], "model": tensors}, target)
    return target


def test_every_kind_of_misfit_is_named(tmp_path: Path, goldens: Goldens) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        del tensors["enc_norm.weight"], tensors["dec_blocks2.0.norm1.bias"]
        tensors["stranger.weight"] = torch.zeros(3)
        tensors["dec_norm.bias"] = torch.zeros(7)

    path = rewritten(goldens("model/dust3r_linear.pth"), tmp_path / "a.pth", spoil)
    with pytest.raises(KeyMismatchError) as error:
        load_model(path, device="cpu")
    text = str(error.value)
    assert "a.pth does not fit AsymmetricCroCo3DStereo" in text
    assert "2 missing keys: enc_norm.weight, dec_blocks2.0.norm1.bias" in text
    assert "1 unexpected key: stranger.weight" in text
    assert "1 wrong shape: dec_norm.bias is [7], expected [48]" in text
    assert "\n" not in text
    assert error.value.missing == ("enc_norm.weight", "dec_blocks2.0.norm1.bias")
    assert error.value.unexpected == ("stranger.weight",)
    assert error.value.misshapen == {"dec_norm.bias": ((7,), (48,))}


def test_long_lists_are_cut(tmp_path: Path, goldens: Goldens) -> None:
    path = rewritten(
        goldens("model/dust3r_linear.pth"),
        tmp_path / "a.pth",
        lambda tensors: [tensors.pop(k) for k in list(tensors) if k.startswith("enc_blocks")],  # type: ignore[func-returns-value]
    )
    with pytest.raises(KeyMismatchError, match=r"36 missing keys: .* and 28 more"):
        load_model(path, device="cpu")


def test_tied_names() -> None:
    config = small_mast3r(dec_depth=10, head_type="catmlp+dpt").config
    state = config.build().state_dict()
    scratch = "downstream_head1.dpt.scratch"
    first, second = f"{scratch}.layer1_rn.weight", f"{scratch}.layer_rn.0.weight"

    def load(tensors: dict[str, Any]) -> nn.Module:
        stored = StoredModel(Path("tied.pth"), tensors, config.architecture, config.keywords())
        return build_with_weights(config, stored, torch.device("cpu"))

    for dropped in ([], [first], [second]):
        model = load({name: value for name, value in state.items() if name not in dropped})
        assert model.get_parameter(first) is model.get_parameter(second)
        assert torch.equal(model.get_parameter(first), state[first])
    with pytest.raises(KeyMismatchError) as error:
        load({name: value for name, value in state.items() if name not in (first, second)})
    assert set(error.value.missing) == {first, second}
    with pytest.raises(CheckpointError, match="must be the same tensor"):
        load({**state, second: state[second] + 1})


def test_shared_and_strided_storage_is_made_own(goldens: Goldens, tmp_path: Path) -> None:
    def alias(tensors: dict[str, Any]) -> None:
        for key in list(tensors):
            if key.startswith("dec_blocks2."):
                tensors[key] = tensors["dec_blocks." + key.removeprefix("dec_blocks2.")]

    path = rewritten(goldens("model/dust3r_linear.pth"), tmp_path / "aliased.pth", alias)
    model = load_model(path, device="cpu")
    first, second = (getattr(model, name)[0].mlp.fc1.weight for name in ("dec_blocks", "dec_blocks2"))
    assert torch.equal(first, second)
    before = first.clone()
    with torch.no_grad():
        second.add_(1)
    assert torch.equal(first, before)
    assert all(p.is_contiguous() for p in model.parameters())


def test_in_place_changes_never_reach_the_file(tmp_path: Path) -> None:
    for path in (tmp_path / "a.pth", tmp_path / "folder"):
        model = small_mast3r()
        if path.suffix:
            state = {
                "args": argparse.Namespace(model=model.config.to_expression()),
                "model": model.state_dict(),
            }
            torch.save(state, path)
        else:
            model.save_pretrained(path)
        loaded = load_model(path, device="cpu")
        with torch.no_grad():
            for parameter in loaded.parameters():
                parameter.zero_()
        again = load_model(path, device="cpu")
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("layout", ["h.pth", "h"])
def test_half_precision_files_are_widened(layout: str, tmp_path: Path) -> None:
    model = small_mast3r()
    if layout == "h":
        save_pretrained(model, tmp_path / layout, dtype="fp16")
    else:
        state = {name: value.half() for name, value in model.state_dict().items()}
        arguments = argparse.Namespace(model=model.config.to_expression())
        torch.save({"args": arguments, "model": state}, tmp_path / layout)
    loaded = load_model(tmp_path / layout, device="cpu")
    for parameter, stored in zip(loaded.parameters(), model.parameters(), strict=True):
        assert parameter.dtype == torch.float32
        torch.testing.assert_close(parameter, stored, rtol=1e-3, atol=1e-6)


def test_bare_state_dict_needs_a_config(tmp_path: Path) -> None:
    model = small_mast3r()
    torch.save(dict(model.state_dict()), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="does not say of which network"):
        load_model(tmp_path / "pytorch_model.bin", device="cpu")
    values = model.config.to_dict()
    values.pop("architecture")
    (tmp_path / "config.json").write_text(json.dumps(values))
    loaded = load_model(tmp_path, device="cpu")
    assert isinstance(loaded, AsymmetricMASt3R)
    assert torch.equal(loaded.enc_norm.weight, model.enc_norm.weight)


MEASURE = """
    import re, sys, time
    import torch
    from mast3r_model import load_model
    def megabytes(what):
        # The kernel's counts of this program; getrusage's would include the process that started it.
        return int(re.search(what + r':\\s+(\\d+) kB', open('/proc/self/status').read())[1]) * 1024 / 1e6
    load_model(sys.argv[2], device='cpu')  # imports what loading needs
    before = megabytes('VmRSS')
    started = time.perf_counter()
    model = load_model(sys.argv[1], device='cpu')
    seconds = time.perf_counter() - started
    touched = sum(float(p.detach().sum()) for p in model.parameters())
    print(megabytes('VmHWM') - before, seconds)
"""


def measure_loading(path: Path, tiny: Path) -> tuple[float, float]:
    """(peak memory in MB, seconds to load) in a fresh process, which also reads every weight."""
    small_mast3r().save_pretrained(tiny)
    command = [sys.executable, "-c", textwrap.dedent(MEASURE), str(path), str(tiny)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    memory, seconds = map(float, output.split())
    return memory, seconds


def save_random(path: Path, **sizes: Any) -> float:
    """Write a random MASt3R in upstream's layout; returns its size in MB."""
    with torch.device("meta"):
        model = AsymmetricMASt3R(
            pos_embed="RoPE100", img_size=(512, 512), head_type="catmlp+dpt", output_mode="pts3d+desc24",
            two_confs=True, desc_conf_mode=("exp", 0, float("inf")), **sizes,
        )  # fmt: skip
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.01)
    state = {"args": argparse.Namespace(model=model.config.to_expression()), "model": model.state_dict()}
    torch.save(state, path)
    return path.stat().st_size / 1e6


MIDDLE = {"enc_embed_dim": 384, "enc_depth": 4, "enc_num_heads": 6, "dec_embed_dim": 192, "dec_depth": 10}
OFFICIAL = {
    "enc_embed_dim": 1024,
    "enc_depth": 24,
    "enc_num_heads": 16,
    "dec_embed_dim": 768,
    "dec_depth": 12,
    "dec_num_heads": 12,
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_middle_sized_model(tmp_path: Path) -> None:
    size = save_random(tmp_path / "middle.pth", dec_num_heads=3, **MIDDLE)
    memory, _ = measure_loading(tmp_path / "middle.pth", tmp_path / "tiny")
    assert size > 250
    assert memory < 1.2 * size
    # Half the file, but the same weights in memory: these are what counts.
    convert(tmp_path / "middle.pth", tmp_path / "half", dtype="fp16")
    memory, _ = measure_loading(tmp_path / "half", tmp_path / "tiny")
    assert memory < 1.2 * size


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_official_size_loads_lean_and_fast(tmp_path: Path) -> None:
    size = save_random(tmp_path / "large.pth", **OFFICIAL)
    assert size > 2750
    memory, seconds = measure_loading(tmp_path / "large.pth", tmp_path / "tiny")
    assert memory < 1.2 * size
    assert seconds < 5


def test_loading_does_not_initialise(tmp_path: Path) -> None:
    model = small_mast3r()
    model.save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    load_model(tmp_path, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
