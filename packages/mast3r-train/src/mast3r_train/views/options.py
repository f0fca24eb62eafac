"""The options that all datasets of pairs share: what values they may have (spec 40 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

from mast3r_model import ConfigError, parse_expression

Transform = Callable[[Image.Image], torch.Tensor]


def check_options(dataset: Any) -> None:
    """Refuse values out of range, before any file is read.

    Args:
        dataset: a `PairDataset` whose options are set.

    Raises:
        ConfigError: names the option and what it may be.
    """
    if not _is_whole(dataset.n_corres, 0):
        raise ConfigError(f"n_corres is a number of correspondences, 0 or more, got {dataset.n_corres!r}")
    for name in ("nneg", "aug_monocular"):
        share = getattr(dataset, name)
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ConfigError(f"{name} is a share from 0 to 1, got {share!r}")
    for name in ("aug_swap", "aug_portrait_or_landscape", "require_valid_corres", "pre_crop"):
        if not isinstance(getattr(dataset, name), bool):
            raise ConfigError(f"{name} is True or False, got {getattr(dataset, name)!r}")
    if dataset.seed is not None and not _is_whole(dataset.seed, 0):
        raise ConfigError(f"seed is a whole number, 0 or more, or None, got {dataset.seed!r}")
    crop = dataset.aug_crop
    if crop is not False and crop != "auto" and not _is_whole(crop, 0):
        raise ConfigError(f"aug_crop is False, 'auto' or a number of pixels, got {crop!r}")
    if dataset.aug_rot90 not in (False, "same", "diff"):
        raise ConfigError(f"aug_rot90 is False, 'same' or 'diff', got {dataset.aug_rot90!r}")
    if not _is_whole(dataset.n_tentative_crops, 1):
        raise ConfigError(f"n_tentative_crops is 1 or more, got {dataset.n_tentative_crops!r}")
    if dataset.view_style not in ("mast3r", "dust3r"):
        raise ConfigError(f"view_style is 'mast3r' or 'dust3r', got {dataset.view_style!r}")
    if dataset.view_style == "dust3r":
        not_there = ("aug_swap", "aug_monocular", "aug_rot90", "n_corres")
        if given := [name for name in not_there if getattr(dataset, name)]:
            raise ConfigError(f"view_style='dust3r' has no {', '.join(given)}")
        if dataset.aug_crop == "auto":
            raise ConfigError("view_style='dust3r' takes aug_crop in pixels, got 'auto'")


def transform_of(transform: Transform | type | str) -> Transform:
    """A transform from what an expression gives: an object, a class of such, or the text of an expression.

    Raises:
        ExpressionError: the text is none.
        ConfigError: it is nothing that can be called.
    """
    built: Any = transform
    if isinstance(transform, str):
        built = parse_expression(transform).build(("transforms",))
    if isinstance(built, type):
        built = built()
    if not callable(built):
        raise ConfigError(f"transform is a function of an image, got {transform!r}")
    return built


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
