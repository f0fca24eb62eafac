"""How CroCo's parameters start (spec 10 section 4.5)."""

from __future__ import annotations

from torch import nn

from croco_backbone.patch_embed import PatchEmbed

MASK_TOKEN_STD = 0.02


def initialize_croco_weights(module: nn.Module) -> None:
    """Initialise linear layers, layer norms, patch embeddings and mask tokens inside a module, in place.

    Linear weights are Xavier-uniform and their biases 0, layer norms 1 and 0; the patch convolution's weight
    is Xavier-uniform as a matrix (its bias keeps PyTorch's default); mask tokens are normal with std 0.02.
    Modules on the meta device are left alone, since they hold no numbers.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm) and part.elementwise_affine:
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.weight.shape[0], -1))
        mask_token = getattr(part, "mask_token", None)
        if isinstance(mask_token, nn.Parameter):
            nn.init.normal_(mask_token, std=MASK_TOKEN_STD)
