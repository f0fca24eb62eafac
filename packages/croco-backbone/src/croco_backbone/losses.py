"""The pretraining loss (spec 10 section 4.10)."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn


def normalize_patches(
    patches: Float[Tensor, "batch tokens patch_numbers"],
) -> tuple[
    Float[Tensor, "batch tokens patch_numbers"],
    Float[Tensor, "batch tokens 1"],
    Float[Tensor, "batch tokens 1"],
]:
    """Bring each patch to mean 0 and (unbiased) variance 1 over all its numbers.

    Returns:
        The normalised patches, and the means and scales that undo it: ``normalised * scale + mean``.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    scale = (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
    return (patches - mean) / scale, mean, scale


class MaskedMSE(nn.Module):
    """Mean squared error between predicted and true patches.

    Args:
        norm_pix_loss: Whether the true patches are normalised first (`normalize_patches`).
        masked: Whether only hidden patches count.
    """

    def __init__(self, norm_pix_loss: bool = False, masked: bool = True) -> None:
        super().__init__()
        self.norm_pix_loss = norm_pix_loss
        self.masked = masked

    def forward(
        self,
        prediction: Float[Tensor, "batch tokens patch_numbers"],
        mask: Bool[Tensor, "batch tokens"],
        target: Float[Tensor, "batch tokens patch_numbers"],
    ) -> Float[Tensor, ""]:
        """Compare patches; ``mask`` is True where a patch was hidden."""
        if self.norm_pix_loss:
            target = normalize_patches(target)[0]
        per_patch = (prediction - target).square().mean(dim=-1)
        if not self.masked:
            return per_patch.mean()
        return (per_patch * mask).sum() / mask.sum()
