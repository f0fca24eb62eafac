"""The transformer blocks of a network: what is compiled, adapted and sharded one by one."""

from __future__ import annotations

from torch import nn

BLOCK_LISTS = ("enc_blocks", "dec_blocks", "dec_blocks2")
"""Names of the lists of blocks of encoder and decoders."""


def transformer_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks by their names in the model, such as ``enc_blocks.0``; empty for other networks."""
    return {
        f"{name}.{number}": block
        for name in BLOCK_LISTS
        for number, block in enumerate(getattr(model, name, ()))
    }
