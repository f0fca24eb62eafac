"""Parts that are not trained: which, that they stay as they are, and how mistakes are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from mast3r_model import CheckpointError, ConfigError, ModelConfig
from mast3r_train import TrainConfig, train
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.finetuning import prepare_model
from mast3r_train.loop.freezing import freeze_parameters, frozen_modules, log_trained
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.training import make_learner, prepare_torch

Settings = Callable[..., TrainConfig]


@pytest.fixture
def model(toys: ModuleType) -> nn.Module:
    return ModelConfig.from_expression(toys.MODEL).build()


def first_levels(model: nn.Module, *, trained: bool) -> set[str]:
    """First parts of the names of parameters that are (not) trained."""
    return {
        name.partition(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad == trained
    }


ENCODER = {"mask_token", "patch_embed", "enc_blocks"}
DECODER = {"decoder_embed", "dec_blocks", "dec_blocks2", "dec_norm"}
HEADS = {"downstream_local", "downstream_head1", "downstream_head2"}


@pytest.mark.parametrize(
    ("text", "frozen"),
    [
        ("", set()),
        ("none", set()),
        ("mask", {"mask_token"}),
        ("encoder", ENCODER),
        (" encoder , decoder", ENCODER | DECODER),
        ("encoder,enc_norm", ENCODER | {"enc_norm"}),
        ("heads", HEADS),
        ("not heads", ENCODER | {"enc_norm"} | DECODER),
        ("not heads,not decoder", ENCODER | {"enc_norm"}),
        ("all,not dec_blocks2", ENCODER | {"enc_norm"} | DECODER - {"dec_blocks2"} | HEADS),
        ("dec_blocks", {"dec_blocks"}),
        ("dec_blocks2.*", {"dec_blocks2"}),
    ],
)
def test_parts(model: nn.Module, text: str, frozen: set[str]) -> None:
    freeze_parameters(model, text)
    assert first_levels(model, trained=False) == frozen
    every = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert first_levels(model, trained=True) == every - frozen


def test_encoder_is_upstreams(toys: ModuleType, model: nn.Module) -> None:
    freeze_parameters(model, "encoder")
    upstream = ModelConfig.from_expression(
        toys.MODEL.replace("two_confs", "freeze='encoder', two_confs")
    ).build()
    for (name, ours), theirs in zip(model.named_parameters(), upstream.parameters(), strict=True):
        assert ours.requires_grad == theirs.requires_grad, name


def test_patterns_name_single_parameters(model: nn.Module) -> None:
    freeze_parameters(model, "*.bias,dec_blocks.[1-9]*")
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (
            not name.endswith(".bias") and not name.startswith("dec_blocks.1.")
        )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "encodr",
            "'encodr' is no part of AsymmetricMASt3R; known: all, mask, encoder, decoder, heads",
            "encoder",
        ),
        ("dec_block2", "known: all", "dec_blocks2"),
        ("encoder,blocks.*", "'blocks.*' is no part", "glob patterns"),
        ("all", "leaves nothing to train", "fewer"),
        ("encoder,*", "leaves nothing to train", "fewer"),
    ],
)
def test_mistakes(model: nn.Module, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        freeze_parameters(model, text)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)
    assert "\n" not in str(caught.value)


def test_the_number_of_trained_parameters_is_told(model: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mast3r.train")
    freeze_parameters(model, "not mask")
    log_trained(model)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert f"training 32 of {total:,} parameters (0.00 %)" in caplog.text


def test_frozen_modules_stay_in_eval_mode_and_out_of_the_optimizer(
    toy_settings: Settings, model: nn.Module, tmp_path: Path
) -> None:
    config = toy_settings(tmp_path, freeze="encoder")
    learner = make_learner(config, model, prepare_torch(config, Ranks()))
    learner.train_mode()
    assert not model.enc_blocks.training
    assert not model.enc_blocks[0].mlp.training
    assert not model.patch_embed.training
    assert model.enc_norm.training
    assert model.dec_blocks[0].attn.training
    assert frozen_modules(model) == learner.frozen
    in_optimizer = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    for parameter in model.parameters():
        assert (id(parameter) in in_optimizer) == parameter.requires_grad


def test_a_run_leaves_the_frozen_as_it_was_and_goes_on(toy_settings: Settings, tmp_path: Path) -> None:
    start, run = tmp_path / "start", tmp_path / "run"
    assert train(toy_settings(start, epochs=1)).completed
    before = read_checkpoint(checkpoint_path(start, "final"))["model"]
    options = {"freeze": "encoder,decoder", "pretrained": str(checkpoint_path(start, "final"))}
    assert not train(toy_settings(run, **options, max_minutes=1e-9)).completed
    assert train(toy_settings(run, **options)).completed
    after = read_checkpoint(checkpoint_path(run, "final"))["model"]
    for name, tensor in after.items():
        trained = name.startswith(("downstream_", "enc_norm"))
        assert torch.equal(tensor, before[name]) == (not trained), name
    with pytest.raises(CheckpointError, match="is of a run that trained other parameters") as caught:
        train(toy_settings(run, epochs=3))
    assert "--freeze" in str(caught.value.hint)
    assert "\n" not in str(caught.value)


def test_gradient_checkpointing_needs_a_network_with_blocks(toy_settings: Settings, tmp_path: Path) -> None:
    config = toy_settings(tmp_path, gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="Linear cannot compute its blocks again"):
        prepare_model(nn.Linear(2, 2), config, torch.device("cpu"))
    config = toy_settings(tmp_path, compile=True)
    with pytest.raises(ConfigError, match="Linear has none"):
        prepare_model(nn.Linear(2, 2), config, torch.device("cpu"))


def test_gradient_checkpointing_changes_no_bit_of_a_run(toy_settings: Settings, tmp_path: Path) -> None:
    for name, on in (("plain", False), ("saving", True)):
        assert train(toy_settings(tmp_path / name, gradient_checkpointing=on)).completed
    plain, saving = (
        read_checkpoint(checkpoint_path(tmp_path / name, "final"))["model"] for name in ("plain", "saving")
    )
    assert plain.keys() == saving.keys()
    for name, tensor in plain.items():
        assert torch.equal(tensor, saving[name]), name
