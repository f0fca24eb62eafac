"""The transformer blocks of CroCo's encoder and decoder (spec 10 sections 4.1 to 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from croco_backbone.positions import RoPE2D

NormLayer = Callable[[int], nn.Module]
LAYER_NORM: NormLayer = partial(nn.LayerNorm, eps=1e-6)


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between them.

    Args:
        in_features: Input width.
        hidden_features: Hidden width (default: the input's).
        out_features: Output width (default: the input's).
    """

    def __init__(
        self, in_features: int, hidden_features: int | None = None, out_features: int | None = None
    ) -> None:
        super().__init__()
        hidden_features = hidden_features or in_features
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_features, out_features or in_features)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        return self.fc2(self.act(self.fc1(x)))


class Attention(nn.Module):
    """Multi-head self-attention; queries and keys are rotated by their positions.

    Args:
        dim: Width of the tokens.
        num_heads: Number of heads; must divide ``dim``.
        rope: Rotary embedding, or None.
    """

    def __init__(self, dim: int, num_heads: int, rope: RoPE2D | None = None) -> None:
        super().__init__()
        _check_heads(dim, num_heads, rope)
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rope = rope

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], positions: Int[Tensor, "batch tokens 2"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Let every token attend to all tokens of its image."""
        # (batch, q|k|v heads, tokens, head_dim): a view, since q, k and v lie side by side in the channels.
        heads = self.qkv(x).unflatten(-1, (3 * self.num_heads, -1)).transpose(1, 2)
        queries_keys, values = heads.split([2 * self.num_heads, self.num_heads], dim=1)
        if self.rope is not None:
            queries_keys = self.rope(queries_keys, positions)
        queries, keys = queries_keys.chunk(2, dim=1)
        return self.proj(_attend(queries, keys, values))


class CrossAttention(nn.Module):
    """Multi-head attention of one image's tokens (queries) to a memory (keys and values).

    Args:
        dim: Width of both the stream and the memory.
        num_heads: Number of heads; must divide ``dim``.
        rope: Rotary embedding, or None. Queries turn with their own positions, keys with the memory's.
    """

    def __init__(self, dim: int, num_heads: int, rope: RoPE2D | None = None) -> None:
        super().__init__()
        _check_heads(dim, num_heads, rope)
        self.num_heads = num_heads
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.rope = rope

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        memory: Float[Tensor, "batch memory_tokens dim"],
        x_positions: Int[Tensor, "batch tokens 2"],
        memory_positions: Int[Tensor, "batch memory_tokens 2"],
    ) -> Float[Tensor, "batch tokens dim"]:
        """Let every token of ``x`` attend to all tokens of ``memory`` (already normalised)."""
        queries, keys, values = (
            projection(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection, tokens in ((self.projq, x), (self.projk, memory), (self.projv, memory))
        )
        if self.rope is not None:
            queries = self.rope(queries, x_positions)
            keys = self.rope(keys, memory_positions)
        return self.proj(_attend(queries, keys, values))


class EncoderBlock(nn.Module):
    """Self-attention and MLP, each after a layer norm and added to the stream.

    Args:
        dim: Width of the tokens.
        num_heads: Number of heads.
        mlp_ratio: Hidden width of the MLP over ``dim``.
        rope: Rotary embedding, or None.
        norm_layer: Makes a norm of a given width.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        rope: RoPE2D | None = None,
        *,
        norm_layer: NormLayer = LAYER_NORM,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = Attention(dim, num_heads, rope)
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], positions: Int[Tensor, "batch tokens 2"]
    ) -> Float[Tensor, "batch tokens dim"]:
        x = x + self.attn(self.norm1(x), positions)
        return x + self.mlp(self.norm2(x))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to a memory, and MLP, each added to the stream.

    Args:
        dim: Width of the stream and of the memory.
        num_heads: Number of heads.
        mlp_ratio: Hidden width of the MLP over ``dim``.
        norm_memory: Whether the memory is normalised here (``norm_y``); without it the key does not exist.
        rope: Rotary embedding, or None.
        norm_layer: Makes a norm of a given width.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        norm_memory: bool = True,
        rope: RoPE2D | None = None,
        *,
        norm_layer: NormLayer = LAYER_NORM,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = Attention(dim, num_heads, rope)
        self.cross_attn = CrossAttention(dim, num_heads, rope)
        self.norm2 = norm_layer(dim)
        self.norm3 = norm_layer(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.norm_y = norm_layer(dim) if norm_memory else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        memory: Float[Tensor, "batch memory_tokens dim"],
        x_positions: Int[Tensor, "batch tokens 2"],
        memory_positions: Int[Tensor, "batch memory_tokens 2"],
    ) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch memory_tokens dim"]]:
        """Update the stream.

        Returns:
            The new stream, and the memory as it came.
        """
        x = x + self.attn(self.norm1(x), x_positions)
        x = x + self.cross_attn(self.norm2(x), self.norm_y(memory), x_positions, memory_positions)
        x = x + self.mlp(self.norm3(x))
        return x, memory


def _attend(
    queries: Float[Tensor, "batch heads tokens head_dim"],
    keys: Float[Tensor, "batch heads memory_tokens head_dim"],
    values: Float[Tensor, "batch heads memory_tokens head_dim"],
) -> Float[Tensor, "batch tokens dim"]:
    return scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)


def _check_heads(dim: int, num_heads: int, rope: RoPE2D | None) -> None:
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"a width of {dim} cannot be split into {num_heads} heads: it must be a multiple")
    if rope is not None and (dim // num_heads) % 4:
        raise ValueError(
            f"rotary positions need a head dimension that is a multiple of 4, got {dim}/{num_heads} = "
            f"{dim // num_heads}: change the width or the number of heads"
        )
