"""Descriptors from tokens by one MLP, for the heads 'catmlp+dpt' and 'catconv' (spec 10 section 7.6)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from croco_backbone import Mlp

from .spec import HeadSpec


def feature_mlp(spec: HeadSpec, out_channels: int, factor: int) -> Mlp:
    """An MLP from concatenated tokens to `out_channels` numbers for each of factor x factor pixels."""
    width = spec.enc_embed_dim + spec.dec_embed_dim
    return Mlp(width, hidden_features=4 * width, out_features=out_channels * factor**2)


def concatenated_tokens(decoder_outputs: list[Tensor]) -> Float[Tensor, "batch tokens channels"]:
    """Encoder output and last decoder output side by side, the encoder's first."""
    return torch.cat([decoder_outputs[0], decoder_outputs[-1]], dim=-1)
