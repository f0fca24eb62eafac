"""Sky masks for prepared photos, made by a plugin (spec 41 section 15).

A sky segmenter is a preprocessor plugin whose name starts with ``sky-``: a function without arguments that
loads what it needs and returns a function from an RGB image (PIL) to its mask (height, width), bool or uint8
with 127 and above for sky::

    @hookimpl
    def mast3r_preprocessors():
        return {"sky-mine": "my_plugin.sky:open_segmenter"}

    def open_segmenter():                                  # my_plugin/sky.py
        network = load_network()
        return lambda image: network(image) > 0.5
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mast3r_model import ConfigError, InputError, PluginError, registry
from mast3r_train.datasets.files import read_rgb
from mast3r_train.datasets.sky import SKY_FROM, sky_mask_path

from .framework import Frame, Preparation
from .saving import save_png

PREFIX = "sky-"
"""With this start the names of segmenters among the preprocessors."""

SkySegmenter = Callable[[Image.Image], np.ndarray]


def sky_segmenters() -> list[str]:
    """Names of the installed segmenters."""
    return [name for name in registry("preprocessors").names() if name.startswith(PREFIX)]


def choose_segmenter(wanted: str | None) -> str:
    """The name of the segmenter to use.

    Args:
        wanted: a name, with or without ``sky-``; None: the only one that is installed.

    Raises:
        PluginError: none is installed, or not this one.
        ConfigError: several are, and none is named.
    """
    installed = sky_segmenters()
    if not installed:
        raise PluginError(
            "no plugin that finds the sky is installed, and mast3r ships none",
            hint=f"a package gives one as a preprocessor named '{PREFIX}...'; see docs/plugins.md",
        )
    if wanted is None:
        if len(installed) > 1:
            raise ConfigError(
                f"several plugins find the sky: {', '.join(installed)}", hint="say --using NAME"
            )
        return installed[0]
    name = wanted if wanted.startswith(PREFIX) else PREFIX + wanted
    if name not in installed:
        raise PluginError(f"no plugin gives {name!r}", hint=f"installed: {', '.join(installed)}")
    return name


def open_segmenter(name: str) -> SkySegmenter:
    """Load a segmenter.

    Raises:
        PluginError: it is none.
    """
    factory = registry("preprocessors")[name]
    segment = factory() if callable(factory) else None
    if not callable(segment):
        raise PluginError(f"{_named(name)}: expected a function that returns a function of an image")
    return segment


def plan_sky_masks(root: Path, name: str) -> Preparation:
    """A mask for every photo of a prepared folder that has none.

    The segmenter is loaded when the first mask is made.

    Args:
        root: the prepared folder.
        name: the segmenter's.

    Raises:
        InputError: there are no photos.
    """
    images = sorted(root.rglob("*.jpg"))
    if not images:
        raise InputError(
            f"{root} has no photos (*.jpg)", hint="it is the folder that `mast3r data prepare` writes"
        )
    opened: list[SkySegmenter] = []

    def make(image: Path) -> None:
        if not opened:
            opened.append(open_segmenter(name))
        write_sky_mask(image, opened[0], _named(name))

    return Preparation(
        frames=[Frame(image.relative_to(root).as_posix(), sky_mask_path(image), image) for image in images],
        make=make,
        finish=lambda: None,
        missing=_nothing,
    )


def write_sky_mask(path: Path, segment: SkySegmenter, name: str) -> None:
    """Write the mask of one photo beside it.

    Args:
        path: of the photo.
        segment: finds the sky.
        name: what errors call it.

    Raises:
        SampleError: the photo is missing or broken.
        PluginError: what the segmenter returns is no mask of the photo.
    """
    image = read_rgb(path)
    mask = np.asarray(segment(image))
    if mask.shape != image.size[::-1] or mask.dtype not in (np.bool_, np.uint8):
        raise PluginError(
            f"{name} returned {mask.dtype} {mask.shape} for {path}, expected bool or uint8 {image.size[::-1]}"
        )
    is_sky = mask if mask.dtype == np.bool_ else mask >= SKY_FROM
    save_png(sky_mask_path(path), is_sky.astype(np.uint8) * 255)


def _named(name: str) -> str:
    return f"{name!r} of the plugin {registry('preprocessors').owner(name)!r}"


def _nothing() -> Sequence[str]:
    return ()
