"""Device and precision: what auto chooses, what is refused, and autocast."""

from __future__ import annotations

import pytest
import torch

from mast3r_model import (
    DeviceError,
    Precision,
    available_devices,
    cpu_threads,
    resolve_device,
    resolve_precision,
)


@pytest.fixture
def _with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)


@pytest.fixture
def _with_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.fixture
def _with_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("_with_cpu_only")
def test_cpu_only() -> None:
    assert available_devices() == ["cpu"]
    assert resolve_precision() == Precision(torch.device("cpu"), torch.float32)
    assert resolve_precision("cpu", "bf16").dtype == torch.bfloat16
    assert resolve_precision("CPU", torch.float16).name == "fp16"
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(DeviceError, match="not available") as caught:
            resolve_device(name)
        assert caught.value.hint == "available here: cpu"


@pytest.mark.usefixtures("_with_cuda")
def test_cuda() -> None:
    assert available_devices()[:2] == ["cuda:0", "cuda:1"]
    assert resolve_device("auto") == torch.device("cuda:0")
    assert resolve_device("cuda") == torch.device("cuda:1")
    assert resolve_device(torch.device("cuda:1")) == torch.device("cuda:1")
    assert resolve_precision().name == "bf16"
    with pytest.raises(DeviceError, match="cuda:2"):
        resolve_device("cuda:2")


@pytest.mark.usefixtures("_with_cuda")
def test_cuda_chip_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Chip")
    assert resolve_precision().name == "fp16"
    with pytest.raises(DeviceError, match="Old Chip cannot compute in bf16"):
        resolve_precision("auto", "bf16")


@pytest.mark.usefixtures("_with_mps")
def test_mps() -> None:
    assert resolve_precision() == Precision(torch.device("mps"), torch.float16)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cpu:1", "meta"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(DeviceError, match="unknown device"):
        resolve_device(name)


def test_unknown_precision() -> None:
    for dtype in ("fp8", "float", torch.int32):
        with pytest.raises(DeviceError, match="unknown precision"):
            resolve_precision("cpu", dtype)  # type: ignore[arg-type]


def test_autocast() -> None:
    weights = torch.ones(2, 2)
    with resolve_precision("cpu", "bf16").autocast():
        assert (weights @ weights).dtype == torch.bfloat16
        with resolve_precision("cpu", "fp32").autocast():
            assert (weights @ weights).dtype == torch.float32
    assert (weights @ weights).dtype == torch.float32


def test_cpu_threads() -> None:
    before = torch.get_num_threads()
    with cpu_threads(1):
        assert torch.get_num_threads() == 1
    with cpu_threads(None):
        assert torch.get_num_threads() == before
    with pytest.raises(DeviceError, match="at least 1"), cpu_threads(0):
        pass
