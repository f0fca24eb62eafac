"""From a photo to the network's input: normalisation and random colours (spec 40 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from mast3r_train.transforms.jitter import JitterFactors as JitterFactors
    from mast3r_train.transforms.jitter import JitterRanges as JitterRanges
    from mast3r_train.transforms.jitter import adjust_brightness as adjust_brightness
    from mast3r_train.transforms.jitter import adjust_contrast as adjust_contrast
    from mast3r_train.transforms.jitter import adjust_hue as adjust_hue
    from mast3r_train.transforms.jitter import adjust_saturation as adjust_saturation
    from mast3r_train.transforms.standard import ColorJitter as ColorJitter
    from mast3r_train.transforms.standard import ImgNorm as ImgNorm
    from mast3r_train.transforms.standard import normalized_tensor as normalized_tensor

_MODULE_OF = {
    "ColorJitter": "standard",
    "ImgNorm": "standard",
    "JitterFactors": "jitter",
    "JitterRanges": "jitter",
    "adjust_brightness": "jitter",
    "adjust_contrast": "jitter",
    "adjust_hue": "jitter",
    "adjust_saturation": "jitter",
    "normalized_tensor": "standard",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
