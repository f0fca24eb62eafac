"""The page's second tab: two photos and what matches between them (spec 60 D1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mast3r_match import Matches, match_coarse_to_fine, match_images
from mast3r_model import InputError, atomic_write, read_rgb

from .views.pair_pictures import picture_of_matches

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from mast3r_model import AsymmetricCroCo3DStereo

    from .jobs import JobControl

PICTURE_SIDE = 640
"""Longest side of the photos that are kept for the picture."""
MATCH_FORMATS = (".csv", ".npz")


@dataclass(frozen=True, eq=False)
class TwoPhotoMatches:
    """The matches of two photos, all of them: the confidence slider chooses later.

    Attributes:
        matches: in the upright photos' own pixels.
        small0: (h0, w0, 3) uint8, photo 0 for the picture.
        small1: photo 1.
    """

    matches: Matches
    small0: UInt8[np.ndarray, "h0 w0 3"]
    small1: UInt8[np.ndarray, "h1 w1 3"]

    def above(self, min_confidence: float) -> Matches:
        """The matches that are at least so sure."""
        return self.matches.select(self.matches.scores >= min_confidence)

    def picture(self, min_confidence: float = 0.0, *, count: int = 80) -> UInt8[np.ndarray, "H W 3"]:
        """Both photos side by side, ``count`` of the matches as lines."""
        return picture_of_matches(self.above(min_confidence), self.small0, self.small1, count=count)

    def confidence_range(self) -> tuple[float, float]:
        """Lowest and highest confidence, for the slider; (0, 1) without matches, and never the same twice."""
        scores = self.matches.scores
        if not len(scores):
            return 0.0, 1.0
        low, high = float(scores.min()), float(scores.max())
        return low, max(high, low + 1e-3)

    def save(self, path: Path, min_confidence: float = 0.0) -> None:
        """Write the matches that are sure enough.

        Args:
            path: with the suffix .csv (x0, y0, x1, y1, score and 3D points, one line a match) or .npz (what
                `mast3r_match.Matches.load` reads).
            min_confidence: of those written.

        Raises:
            InputError: another suffix.
            OutputError: the file cannot be written.
        """
        if path.suffix.lower() not in MATCH_FORMATS:
            raise InputError(
                f"matches are not written as {path.suffix!r}", f"use {' or '.join(MATCH_FORMATS)}"
            )
        self.above(min_confidence).save(path)

    def save_picture(self, path: Path, min_confidence: float = 0.0) -> None:
        """Write the picture as PNG.

        Raises:
            OutputError: the file cannot be written.
        """
        with atomic_write(path) as temporary:
            Image.fromarray(self.picture(min_confidence)).save(temporary, "PNG")


def match_two(
    model: AsymmetricCroCo3DStereo,
    path0: Path,
    path1: Path,
    *,
    min_confidence: float = 0.0,
    fine: bool = False,
    control: JobControl,
    size: int = 512,
    names: tuple[str, str] | None = None,
) -> TwoPhotoMatches:
    """Match two photos.

    Args:
        model: a network.
        path0: photo 0.
        path1: photo 1.
        min_confidence: less sure matches are not even looked at again; 0: all.
        fine: large photos are matched again window by window, at their own resolution.
        control: of the job.
        size: long side of the network's input in pixels.
        names: what the visitor calls the photos.

    Raises:
        ImageError: a photo cannot be read.
        Cancelled: the job was cancelled.
    """
    with control.progress("matching", 2) as advance:
        small0, small1 = _small(path0), _small(path1)
        advance(1)
        match = match_coarse_to_fine if fine else match_images
        matches = match(model, path0, path1, size=size, min_confidence=min_confidence)
        advance(1)
    return TwoPhotoMatches(_named(matches, names or (path0.name, path1.name)), small0, small1)


def _named(matches: Matches, names: tuple[str, str]) -> Matches:
    """Matches that tell no path of this machine."""
    return replace(matches, name0=names[0], name1=names[1])


def _small(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    picture = Image.fromarray(read_rgb(path))
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    return np.array(picture)
