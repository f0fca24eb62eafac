"""From encoder tokens to the features that images are compared by (spec 30 section 10.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mast3r_model import CheckpointError

from .checkpoint import RetrievalCheckpoint
from .whitening import Whitening


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """The features of one image that are worth comparing, the most attended first.

    Attributes:
        descriptors: (features, channels).
        attention: (features,) descending.
        tokens: (features,) which of the encoder's tokens they come from, int64.
    """

    descriptors: Float[Tensor, "features channels"]
    attention: Float[Tensor, " features"]
    tokens: Int[Tensor, " features"]

    def __len__(self) -> int:
        return len(self.descriptors)


class RetrievalHead(nn.Module):
    """Upstream's retrieval head: whiten, project, weigh by length, whiten.

    Args:
        checkpoint: what `read_retrieval_checkpoint` returns.

    Raises:
        CheckpointError: options and weights do not fit.
    """

    def __init__(self, checkpoint: RetrievalCheckpoint) -> None:
        super().__init__()
        options, state = checkpoint.options, checkpoint.tensors
        self.features = options.features
        self.residual = options.residual
        self.prewhitening = _whitening(state, "prewhiten", checkpoint.name)
        self.postwhitening = _whitening(state, "postwhiten", checkpoint.name)
        self.projector = _projector(options.hidden_dims, state, checkpoint.name)
        if self.residual and self.output_dim(self.prewhitening) != self.output_dim(self.projector):
            raise CheckpointError(f"{checkpoint.name}: the projector's output cannot be added to its input")
        self.requires_grad_(False)

    @staticmethod
    def output_dim(part: Whitening | nn.Sequential | None) -> int | None:
        """Number of channels that a part gives; None if it leaves them as they are."""
        if isinstance(part, Whitening):
            return part.projection.shape[1]
        if part is not None and len(part) and isinstance(part[-1], nn.Linear):
            return part[-1].out_features
        return None

    def forward(
        self, tokens: Float[Tensor, "*batch tokens channels"]
    ) -> tuple[Float[Tensor, "*batch tokens outputs"], Float[Tensor, "*batch tokens"]]:
        """Features of all tokens, and the attention each gets (its length before the last whitening).

        Args:
            tokens: the encoder's output after its last norm, float32.
        """
        features = tokens if self.prewhitening is None else self.prewhitening(tokens)
        projected = self.projector(features)
        if self.residual:
            projected = projected + features
        attention = projected.norm(dim=-1)
        return projected if self.postwhitening is None else self.postwhitening(projected), attention

    @torch.no_grad()
    def local_features(self, tokens: Float[Tensor, "tokens channels"]) -> LocalFeatures:
        """The most attended features of one image."""
        features, attention = self(tokens)
        total = len(tokens)
        count = int(-self.features * total) if self.features < 0 else int(self.features)
        strongest, chosen = attention.topk(min(count, total), sorted=True)
        return LocalFeatures(features[chosen], strongest, chosen)

    @torch.no_grad()
    def global_feature(
        self, tokens: Float[Tensor, "*batch tokens channels"]
    ) -> Float[Tensor, "*batch outputs"]:
        """One feature of unit length for the whole image: all features, weighted by their attention."""
        features, attention = self(tokens)
        return nn.functional.normalize((features * attention[..., None]).sum(dim=-2), dim=-1)


def _whitening(state: Mapping[str, Tensor], name: str, checkpoint: str) -> Whitening | None:
    if f"{name}.m" not in state and f"{name}.p" not in state:
        return None
    try:
        mean, projection = state[f"{name}.m"].double(), state[f"{name}.p"].double()
    except KeyError as error:
        raise CheckpointError(f"{checkpoint} lacks {error.args[0]}") from None
    if mean.shape != (1, projection.shape[0]) or projection.ndim != 2:
        raise CheckpointError(
            f"{checkpoint}: {name} has a mean of shape {tuple(mean.shape)} and a projection of "
            f"{tuple(projection.shape)}, expected (1, channels) and (channels, outputs)"
        )
    return Whitening(mean, projection)


def _projector(hidden_dims: tuple[int, ...], state: Mapping[str, Tensor], checkpoint: str) -> nn.Sequential:
    weights = {
        key.removeprefix("projector."): value.float()
        for key, value in state.items()
        if key.startswith("projector.")
    }
    layers: list[nn.Module] = []
    for number, dim in enumerate(hidden_dims):
        first = weights.get(f"{len(layers)}.weight")
        if first is None or first.ndim != 2:
            raise CheckpointError(f"{checkpoint} lacks projector.{len(layers)}.weight")
        layers.append(nn.Linear(first.shape[1], dim))
        if number < len(hidden_dims) - 1:
            layers += [nn.LayerNorm(dim), nn.GELU()]
    projector = nn.Sequential(*layers)
    try:
        projector.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint}: the projector does not fit its options: {error}") from None
    return projector
