"""A map's index, made beforehand: `mast3r visloc index` (spec 50 D1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from mast3r_model import OutputError, network_identity
from mast3r_visloc.maps import LocalizationMap

from .densify import Densifier
from .index import IndexReport, MapIndex, index_folder, network_size
from .options import LocalizationOptions

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo


def build_index(
    localization_map: LocalizationMap,
    model: AsymmetricCroCo3DStereo,
    *,
    size: int | None = None,
    batch_size: int = 8,
    densify: bool = False,
    progress: Callable[[int], None] | None = None,
) -> IndexReport:
    """Encode a map's images once, into its folder, so that later queries need not.

    Args:
        localization_map: the map.
        model: the network.
        size: long side of the network's input in pixels; None for what the network was made for.
        batch_size: images at a time.
        densify: predict points of images that have none, as `LocalizationOptions.densify` would, too.
        progress: called with the number of images just done.

    Raises:
        OutputError: the map's folder cannot be written to.
        ImageError: no image can be read.
    """
    long_side = network_size(model, size)
    network = network_identity(model)
    folder = index_folder(localization_map, network, long_side)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {folder}: {error.strerror}", "copy the map to a folder of yours"
        ) from None
    index = MapIndex(
        localization_map, model, size=long_side, folder=folder, batch_size=batch_size, network=network
    )
    report = index.build(progress)
    if not densify:
        return report
    densifier = Densifier(localization_map, model, index, LocalizationOptions(batch_size=batch_size))
    return dataclasses.replace(report, densified=densifier.predict_all())
