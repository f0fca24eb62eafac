"""Pretraining by cross-view completion, CroCo (spec 40 section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from mast3r_train.croco.config import PretrainConfig as PretrainConfig
    from mast3r_train.croco.crop_lists import CropPair as CropPair
    from mast3r_train.croco.crop_lists import read_crop_list as read_crop_list
    from mast3r_train.croco.crops import extract_crops as extract_crops
    from mast3r_train.croco.dataset import CompletionPairs as CompletionPairs
    from mast3r_train.croco.pretraining import pretrain as pretrain
    from mast3r_train.croco.sources import find_sources as find_sources
    from mast3r_train.croco.synthetic_pairs import render_pairs as render_pairs
    from mast3r_train.croco.transforms import parse_transforms as parse_transforms

_MODULE_OF = {
    "CompletionPairs": "dataset",
    "CropPair": "crop_lists",
    "PretrainConfig": "config",
    "extract_crops": "crops",
    "find_sources": "sources",
    "parse_transforms": "transforms",
    "pretrain": "pretraining",
    "read_crop_list": "crop_lists",
    "render_pairs": "synthetic_pairs",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
