"""Windows of photos as the network's encoder sees them; those of the query serve all map images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mast3r_match import WorkingPhoto, cut_window
from mast3r_model import EncodedImage

if TYPE_CHECKING:
    from mast3r_match.coarse_to_fine import Crop
    from mast3r_model import AsymmetricCroCo3DStereo


WINDOWS_KEPT = 64
"""Of the query: all of a photo four times as large as the network's input at a lattice of half windows."""


@dataclass(frozen=True)
class PhotoWindow:
    """A part of a photo.

    Attributes:
        photo: at the size it is cut at; the same object is the same photo.
        window: (left, top, right, bottom) in its pixels.
    """

    photo: WorkingPhoto
    window: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class EncodedWindow:
    """A window and its features."""

    crop: Crop
    features: EncodedImage


class WindowEncoder:
    """Cuts windows and encodes them, each window of the query once.

    Args:
        model: the network.
        batch_size: windows at a time.
    """

    def __init__(self, model: AsymmetricCroCo3DStereo, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self._kept: OrderedDict[PhotoWindow, EncodedWindow] = OrderedDict()

    def encode(
        self, of_query: Sequence[PhotoWindow], of_map: Sequence[PhotoWindow]
    ) -> dict[PhotoWindow, EncodedWindow]:
        """Windows of both sides of a batch of pairs; the query's are remembered, the map's are not.

        Args:
            of_query: may hold a window several times.
            of_map: the same.
        """
        found = {key: self._kept[key] for key in of_query if key in self._kept}
        missing = [key for key in dict.fromkeys([*of_query, *of_map]) if key not in found]
        crops = [cut_window(key.photo, key.window) for key in missing]
        encoded = self.model.encode([crop.tensor for crop in crops], batch_size=self.batch_size)
        for key, crop, features in zip(missing, crops, encoded, strict=True):
            found[key] = EncodedWindow(crop, features)
        for key in of_query:
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > WINDOWS_KEPT:
            self._kept.popitem(last=False)
        return found
