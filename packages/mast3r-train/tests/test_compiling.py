"""--compile: the same training, checkpoints with the usual names, and a clear word without a compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from mast3r_model import ConfigError, ModelConfig, load_model
from mast3r_train import TrainConfig, train
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint
from mast3r_train.loop.compiling import check_compiler, compile_blocks

Settings = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    class CompilationError(Exception):
        inner_exception = RuntimeError("No working C++ compiler found\nTry CXX.")

    def fail(function: Any) -> Any:
        raise CompilationError("backend='inductor' raised:\nmany lines")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ConfigError) as caught:
        check_compiler(CPU)
    assert str(caught.value) == (
        "--compile does not work on cpu: RuntimeError: No working C++ compiler found"
    )
    assert "CXX" in str(caught.value.hint)


def test_names_of_weights_stay(toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mast3r_train.loop.compiling.check_compiler", lambda device: None)
    model = ModelConfig.from_expression(toys.MODEL).build()
    names = list(model.state_dict())
    compile_blocks(model, CPU)
    assert list(model.state_dict()) == names
    assert model.enc_blocks[0]._compiled_call_impl is not None
    assert model.downstream_head1._compiled_call_impl is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_checkpointing": True, "freeze": "encoder"}, {"lora": 2, "lora_train_heads": True}],
    ids=["plain", "checkpointing", "lora"],
)
def test_a_compiled_run_trains_the_same(
    options: dict[str, Any], toy_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        check_compiler(CPU)
    except ConfigError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("mast3r_train.loop.logs.plot_curves", lambda *files: None)
    torch._dynamo.reset()
    counters.clear()
    weights = []
    for name, compiled in (("plain", False), ("compiled", True)):
        folder = tmp_path / name
        changes = {**options, "lr": 1e-4, "epochs": 1, "test_dataset": "ToyPairs(2)", "compile": compiled}
        assert train(toy_settings(folder, **changes)).completed
        weights.append(read_checkpoint(checkpoint_path(folder, "final"))["model"])
        load_model(checkpoint_path(folder, "last"), device="cpu")
    plain, compiled_ = weights
    assert list(compiled_) == list(plain)
    for key, tensor in plain.items():
        torch.testing.assert_close(compiled_[key], tensor, rtol=1e-3, atol=2e-5)
    assert 0 < counters["stats"]["unique_graphs"] <= 8


def test_one_blocks_code_serves_all_of_its_kind(toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mast3r_train.loop.compiling.check_compiler", lambda device: None)
    graphs = []
    for depth in (2, 4):
        torch._dynamo.reset()
        counters.clear()
        text = toys.MODEL.replace("enc_depth=1", f"enc_depth={depth}").replace(
            "dec_depth=2", f"dec_depth={depth}"
        )
        model = ModelConfig.from_expression(text).build()
        compile_blocks(model, CPU, backend="aot_eager")
        view = {"img": torch.zeros(2, 3, 32, 48)}
        prediction, _ = model(view, view)
        prediction["conf"].sum().backward()
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] > 0
