"""Where to compute and in which precision: the only place that decides (spec 60 F2, spec 10)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from .errors import DeviceError

LOGGER = logging.getLogger("mast3r.device")

DtypeName = Literal["auto", "fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """Where the network runs and the dtype of its matrix products.

    Weights stay float32 and regression to points is always float32 (spec 10); ``dtype`` is what autocast
    uses for the rest.

    Args:
        device: a device that exists.
        dtype: float32 (no autocast), bfloat16 or float16.
    """

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[None]:
        """A context in which the network computes in this precision, whatever the caller's autocast says."""
        half = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype if half else None, enabled=half)

    @property
    def name(self) -> str:
        """The dtype as the command line spells it: "fp32", "bf16" or "fp16"."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)


def available_devices() -> list[str]:
    """Every device that ``resolve_device`` accepts on this machine, best first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = [f"cuda:{index}" for index in range(count)]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a user's choice into a device that exists.

    Args:
        device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:N", "mps", or a ``torch.device``.

    Raises:
        DeviceError: the device does not exist here, or the text names none; the hint lists those that do.
    """
    name = str(device).strip().lower()
    present = available_devices()
    if name == "auto":
        name = present[0]
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise DeviceError(f"unknown device {name!r}, expected auto, cpu, cuda[:N] or mps", _choices(present))
    if name == "cuda" and "cuda:0" in present:
        return torch.device("cuda", torch.cuda.current_device())
    if name not in present:
        raise DeviceError(f"device {name!r} is not available on this machine", _choices(present))
    return torch.device(name)


def resolve_precision(
    device: str | torch.device = "auto", dtype: DtypeName | torch.dtype = "auto"
) -> Precision:
    """Choose the precision: "auto" is bf16 on CUDA (fp16 on chips without bf16), fp16 on MPS, fp32 on CPU.

    Args:
        device: see ``resolve_device``.
        dtype: "auto", "fp32", "bf16", "fp16", or the torch dtype itself.

    Raises:
        DeviceError: the device does not exist, or it cannot compute in the dtype asked for.
    """
    resolved = resolve_device(device)
    if isinstance(dtype, torch.dtype):
        if dtype not in _DTYPES.values():
            raise DeviceError(f"unknown precision {dtype}: expected {', '.join(map(str, _DTYPES.values()))}")
        return Precision(resolved, dtype)
    name = dtype.strip().lower()
    if name == "auto":
        return Precision(resolved, _automatic_dtype(resolved))
    if name not in _DTYPES:
        raise DeviceError(f"unknown precision {dtype!r}: expected auto, {', '.join(_DTYPES)}")
    if name == "bf16" and resolved.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceError(
            f"{torch.cuda.get_device_name(resolved)} cannot compute in bf16", "use --dtype fp16"
        )
    return Precision(resolved, _DTYPES[name])


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use ``count`` CPU threads inside the block; None leaves its own choice."""
    before = torch.get_num_threads()
    if count is not None:
        if count < 1:
            raise DeviceError(f"number of threads must be at least 1, got {count}")
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


def _automatic_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        # Emulated bf16 is slower than fp16, so it does not count here.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def _choices(present: list[str]) -> str:
    return "available here: " + ", ".join(present)
