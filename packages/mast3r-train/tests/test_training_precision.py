"""--amp: what is computed in which precision, and when gradients are scaled (spec 40 section 9.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from mast3r_model import ModelConfig
from mast3r_train import TrainConfig, train
from mast3r_train.loop.building import build_criterion
from mast3r_train.loop.checkpointing import checkpoint_path, load_checkpoint, read_checkpoint
from mast3r_train.loop.learner import batch_loss
from mast3r_train.loop.loading import PairLoader
from mast3r_train.loop.ranks import Ranks
from mast3r_train.loop.training import make_learner, prepare_torch

Settings = Callable[..., TrainConfig]


def dtypes_of_a_step(toys: ModuleType, config: TrainConfig) -> tuple[dict[str, set[torch.dtype]], Tensor]:
    """The dtypes that linear layers and convolutions gave in a forward pass, by part; and the loss."""
    model = ModelConfig.from_expression(toys.MODEL).build()
    learner = make_learner(config, model, prepare_torch(config, Ranks()))
    seen: dict[str, set[torch.dtype]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            part = name.partition(".")[0].rstrip("12").removesuffix("_head").removesuffix("_local")
            module.register_forward_hook(
                lambda module, inputs, output, part=part: seen.setdefault(part, set()).add(output.dtype)
            )
    loader = PairLoader(toys.ToyPairs(2), batch_size=2, num_workers=0, seed=0, shuffle=True)
    result = batch_loss(
        learner.trained_model, build_criterion(toys.CRITERION), next(loader.epoch(0)), learner.precision
    )
    learner.backward(result)
    assert learner.update() > 0
    return seen, result.loss


@pytest.mark.parametrize(
    ("amp", "dtype"), [("0", torch.float32), ("bf16", torch.bfloat16), ("1", torch.float16)]
)
def test_backbone_in_half_precision_heads_and_losses_in_float32(
    amp: str, dtype: torch.dtype, toys: ModuleType, toy_settings: Settings, tmp_path: Path
) -> None:
    seen, loss = dtypes_of_a_step(toys, toy_settings(tmp_path, amp=amp))
    assert seen == {
        "patch_embed": {dtype},
        "enc_blocks": {dtype},
        "decoder_embed": {dtype},
        "dec_blocks": {dtype},
        "downstream": {torch.float32},
    }
    assert loss.dtype == torch.float32


@pytest.mark.parametrize(("amp", "scales"), [("0", False), ("bf16", False), ("1", True)])
def test_gradients_are_scaled_for_fp16_only(
    amp: str, scales: bool, toys: ModuleType, toy_settings: Settings, tmp_path: Path
) -> None:
    config = toy_settings(tmp_path, amp=amp)
    model = ModelConfig.from_expression(toys.MODEL).build()
    scaler = make_learner(config, model, prepare_torch(config, Ranks())).scaler
    assert scaler.is_enabled() == scales
    assert bool(scaler.state_dict()) == scales


def test_bf16_trains_nearly_the_same(toy_settings: Settings, tmp_path: Path) -> None:
    losses = []
    for amp in ("0", "bf16"):
        config = toy_settings(tmp_path / amp, amp=amp, lr=1e-4)
        assert train(config).completed
        lines = (tmp_path / amp / "log.txt").read_text().splitlines()
        losses.append(float(lines[-1].partition('"train_loss": ')[2].partition(",")[0]))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_an_upstream_scaler_entry_loads_and_counts_for_fp16_only(
    toys: ModuleType, toy_settings: Settings, tmp_path: Path
) -> None:
    train(toy_settings(tmp_path, epochs=1))
    path = checkpoint_path(tmp_path, "last")
    content = read_checkpoint(path)
    assert content["scaler"] == {}
    content["scaler"] = {
        "scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 7
    }  # fmt: skip
    torch.save(content, path)
    for amp, scale in (("0", 1.0), ("bf16", 1.0), ("1", 1024.0)):
        config = toy_settings(tmp_path, amp=amp)
        model = ModelConfig.from_expression(toys.MODEL).build()
        learner = make_learner(config, model, prepare_torch(config, Ranks()))
        load_checkpoint(path, learner)
        assert learner.scaler.get_scale() == scale
    assert train(toy_settings(tmp_path, amp="bf16")).completed
