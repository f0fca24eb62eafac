"""Which back end rotates, and why: chosen at the first use of a device, never at import."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from curope import cuda_library, reference

BackendName: TypeAlias = Literal["cuda", "triton", "reference"]
RotateInto: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""``(output, tokens, positions, frequencies)``; the contract is that of ``reference.rotate_into``."""

VARIABLE = "CUROPE_BACKEND"
ORDER: tuple[BackendName, ...] = ("cuda", "triton", "reference")


@dataclass(frozen=True)
class Availability:
    """Whether a back end can be used; true or false in a condition.

    Attributes:
        usable: whether it can.
        reason: why it can, or why it cannot and what to do about it.
    """

    usable: bool
    reason: str

    def __bool__(self) -> bool:
        return self.usable

    def __str__(self) -> str:
        return f"{'yes' if self.usable else 'no'}: {self.reason}"


@dataclass(frozen=True)
class BackendReport:
    """Which back end rotates the tensors of a device.

    Attributes:
        name: the back end in use, or "none" where CUROPE_BACKEND asks for one that cannot be used.
        reason: why this one.
        available: each back end, in order of preference, with what speaks for or against it.
    """

    name: Literal["cuda", "triton", "reference", "none"]
    reason: str
    available: Mapping[str, Availability]


def _interpreted_triton() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _probe_triton() -> str | None:
    """Run the Triton kernel once on the GPU; what went wrong, if anything did.

    Triton compiles at first use and may then miss a C compiler, or not know the chip.
    """
    from curope import triton_kernel

    tokens = torch.ones(1, 1, 1, 4, device="cuda")
    positions = torch.zeros(1, 1, 2, dtype=torch.int64, device="cuda")
    try:
        triton_kernel.rotate_into(torch.empty_like(tokens), tokens, positions, torch.ones(1, device="cuda"))
    except Exception as error:  # whatever it is, the twin works
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _triton_availability(device_type: str) -> Availability:
    if importlib.util.find_spec("triton") is None:
        return Availability(False, "the package triton is not installed")
    if device_type != "cuda" and not _interpreted_triton():
        return Availability(False, f"it runs on CUDA devices, not on {device_type}")
    if device_type == "cuda" and not torch.cuda.is_available():
        return Availability(False, "PyTorch finds no CUDA device")
    if device_type == "cuda" and (failure := _probe_triton()) is not None:
        return Availability(False, f"its kernel failed on this machine ({failure})")
    return Availability(True, "interpreted (TRITON_INTERPRET=1)" if _interpreted_triton() else "installed")


def _cuda_availability(device_type: str) -> Availability:
    if device_type != "cuda":
        return Availability(False, f"it runs on CUDA devices, not on {device_type}")
    try:
        return Availability(True, f"loaded from {cuda_library.load()}")
    except (OSError, RuntimeError) as error:
        return Availability(False, str(error))


@lru_cache(maxsize=16)
def _availability(device_type: str, name: str) -> Availability:
    if name == "cuda":
        return _cuda_availability(device_type)
    if name == "triton":
        return _triton_availability(device_type)
    return Availability(True, "plain PyTorch, for every device")


@lru_cache(maxsize=64)
def _choose(device_type: str, wanted: str) -> tuple[BackendName, str]:
    """The back end and the reason.

    Raises:
        ValueError: ``wanted`` is no back end's name.
        RuntimeError: ``wanted`` cannot be used.
    """
    if wanted == "auto":
        for name in ORDER:
            if available := _availability(device_type, name):
                return name, f"the first that can be used on {device_type} ({available.reason})"
    for name in ORDER:
        if name != wanted:
            continue
        if available := _availability(device_type, name):
            return name, f"{VARIABLE}={wanted} ({available.reason})"
        if device_type != "cuda":
            return "reference", f"{VARIABLE}={wanted}, but {available.reason}"
        raise RuntimeError(
            f"{VARIABLE}={wanted}, but this back end cannot be used: {available.reason}; "
            f"unset {VARIABLE} to let curope choose"
        )
    raise ValueError(f"{VARIABLE}: expected auto, {', '.join(ORDER)}; got {wanted!r}")


@lru_cache(maxsize=64)
def _rotation(device_type: str, wanted: str) -> RotateInto:
    name, _ = _choose(device_type, wanted)
    if name == "cuda":
        return cuda_library.rotate_into
    if name == "triton":
        from curope import triton_kernel

        return triton_kernel.rotate_into
    return reference.rotate_into


def rotation(device: torch.device) -> RotateInto:
    """The back end in use for tensors of a device.

    Raises:
        ValueError: CUROPE_BACKEND is no back end's name.
        RuntimeError: CUROPE_BACKEND asks for a back end that cannot be used.
    """
    return _rotation(device.type, os.environ.get(VARIABLE, "auto"))


def backend(device: torch.device | str | None = None) -> BackendReport:
    """Say which back end rotates the tensors of a device, and why.

    Args:
        device: a device or its name; None: the CUDA device if there is one, else the CPU.

    Returns:
        The report; it never raises for a back end that cannot be used (then the name is "none").
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device_type = torch.device(device).type
    by_name: dict[str, Availability] = {name: _availability(device_type, name) for name in ORDER}
    available = MappingProxyType(by_name)
    try:
        name, reason = _choose(device_type, os.environ.get(VARIABLE, "auto"))
    except (ValueError, RuntimeError) as error:
        return BackendReport("none", str(error), available)
    return BackendReport(name, reason, available)
