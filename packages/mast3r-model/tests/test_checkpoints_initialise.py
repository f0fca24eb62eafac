"""Initialising a network from a checkpoint of another architecture (spec 10 S9.4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mast3r_model import AsymmetricCroCo3DStereo, AsymmetricMASt3R
from mast3r_model.checkpoints import KeyMismatchError, load_pretrained_into, read_checkpoint

Goldens = Callable[[str], Path]


def golden_adaptation(goldens: Goldens, name: str) -> dict[str, list[str]]:
    return json.loads(goldens("model/state_dict_adaptation.json").read_text())[name]


def test_croco_into_dust3r(goldens: Goldens) -> None:
    source = read_checkpoint(goldens("model/croco_rope.pth"))
    keywords = dict(source.keywords)
    model = AsymmetricCroCo3DStereo(
        head_type="linear", **{k: v for k, v in keywords.items() if k != "mask_ratio"}
    )
    fresh = model.downstream_head1.proj.weight.clone()
    report = load_pretrained_into(model, source.path)
    expected = golden_adaptation(goldens, "croco_into_dust3r_linear")
    assert list(report.missing) == expected["missing"]
    assert sorted(report.unexpected) == sorted(expected["unexpected"])
    assert torch.equal(model.downstream_head1.proj.weight, fresh)
    assert torch.equal(model.mask_token, source.tensors["mask_token"])
    for name, value in model.dec_blocks2.state_dict().items():
        assert torch.equal(value, source.tensors[f"dec_blocks.{name}"])
        assert value.data_ptr() != model.dec_blocks.state_dict()[name].data_ptr()
    assert len(report.cloned) == len(model.dec_blocks2.state_dict())


@pytest.mark.parametrize(
    ("case", "source", "architecture", "keywords"),
    [
        (
            "dust3r_dpt_into_mast3r",
            "dust3r_dpt",
            "AsymmetricMASt3R",
            {"head_type": "catmlp+dpt", "output_mode": "pts3d+desc24", "two_confs": True},
        ),
        (
            "dust3r_linear_into_dust3r_dpt",
            "dust3r_linear",
            "AsymmetricCroCo3DStereo",
            {"head_type": "dpt"},
        ),
    ],
)
def test_other_architectures_initialise(
    case: str, source: str, architecture: str, keywords: dict[str, Any], goldens: Goldens, tmp_path: Path
) -> None:
    stored = read_checkpoint(goldens(f"model/{source}.pth"))
    base = {"AsymmetricMASt3R": AsymmetricMASt3R, "AsymmetricCroCo3DStereo": AsymmetricCroCo3DStereo}
    config = {name: value for name, value in stored.keywords.items() if name not in keywords}
    if source == "dust3r_linear":
        # DPT needs ten decoder blocks: repeat the ones that there are.
        config["dec_depth"] = 10
        for name in [k for k in stored.tensors if k.startswith(("dec_blocks.0.", "dec_blocks2.0."))]:
            for i in range(3, 10):
                stored.tensors[name.replace(".0.", f".{i}.", 1)] = stored.tensors[name]  # type: ignore[index]
        path = tmp_path / "deeper.pth"
        torch.save({"model": dict(stored.tensors), "args": stored.training["args"]}, path)
    else:
        path = stored.path
    report = load_pretrained_into(base[architecture](**config, **keywords), path)
    expected = golden_adaptation(goldens, case)
    assert sorted(report.missing) == sorted(expected["missing"])
    assert sorted(report.unexpected) == sorted(expected["unexpected"])
    assert not report.cloned


def test_a_trunk_that_does_not_fit_changes_nothing(goldens: Goldens) -> None:
    widths = {
        "enc_embed_dim": 16,
        "enc_depth": 1,
        "enc_num_heads": 1,
        "dec_embed_dim": 16,
        "dec_num_heads": 1,
    }
    model = AsymmetricCroCo3DStereo(pos_embed="RoPE100", head_type="linear", dec_depth=1, **widths)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyMismatchError, match=r"unexpected keys.*wrong shapes") as error:
        load_pretrained_into(model, goldens("model/dust3r_linear.pth"))
    assert "enc_norm.weight" in error.value.misshapen
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
