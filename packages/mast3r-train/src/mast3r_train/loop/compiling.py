"""Compiling the network for training (``--compile``)."""

from __future__ import annotations

import logging

import torch
from torch import nn

from mast3r_model import ConfigError
from mast3r_train.loop.blocks import transformer_blocks

LOGGER = logging.getLogger("mast3r.train")


def compile_blocks(model: nn.Module, device: torch.device, *, backend: str = "inductor") -> None:
    """Let torch compile the transformer blocks at their first use.

    Block by block: they all share the code that is made for the first one, and what lies between them (which
    looks at texts and at sizes on the CPU) would be compiled anew with every batch. Names of the weights
    stay as they are.

    Args:
        model: changed in place.
        device: where it will run.
        backend: one of ``torch.compiler.list_backends()``.

    Raises:
        ConfigError: the network has no blocks, or there is no working compiler for the device.
    """
    blocks = transformer_blocks(model)
    if not blocks:
        raise ConfigError(
            f"--compile compiles transformer blocks, and {type(model).__name__} has none",
            hint="leave --compile out",
        )
    check_compiler(device)
    for block in blocks.values():
        block.compile(backend=backend)
    LOGGER.info("compiling %d blocks at their first use; the first steps take minutes", len(blocks))


def check_compiler(device: torch.device) -> None:
    """Compile and run a small function.

    Raises:
        ConfigError: it does not work; the message has the compiler's reason.
    """

    def double(x: torch.Tensor) -> torch.Tensor:
        return x + x

    try:
        torch.compile(double)(torch.ones(2, device=device))
    # Whatever is missing (a compiler, Triton, Python's headers), and wherever torch stumbles over it.
    except Exception as error:
        tool = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler"
        cause = getattr(error, "inner_exception", error)
        reason = f"{type(cause).__name__}: {str(cause).strip()}".splitlines()[0]
        raise ConfigError(
            f"--compile does not work on {device}: {reason[:200]}",
            hint=f"it needs {tool} (the environment variable CXX may name one); or leave --compile out",
        ) from error
