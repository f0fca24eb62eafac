"""Where the search for an unknown focal length starts: what the network's points imply (spec 50 D4.4)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from mast3r_visloc.cameras import QueryCamera, with_focal

from .photos import NetworkPhoto
from .pointmaps import PlacedImage, file_focal, predict_geometry

if TYPE_CHECKING:
    from mast3r_model import EncodedImage

    from .query_matching import KnownMap

BELIEVED = (0.3, 4.0)
"""Of an implied focal length, in units of the photo's longer side: views of 118 to 14 degrees. What a network
implies that has not understood a photo may be anything."""


def with_implied_focal(
    known: KnownMap, photo: NetworkPhoto, camera: QueryCamera, encoded: EncodedImage, name: str
) -> QueryCamera:
    """The camera with the focal length that the network's points imply, where that can be believed.

    Costs one decoding, of the query with a map image.

    Args:
        known: the map.
        photo: the query.
        camera: of it, its focal length a guess.
        encoded: its features.
        name: of the map image that the points are predicted beside.
    """
    number = known.map.index_of[name]
    with known.network_lock:
        found = known.index.get([number]).get(number)
        if found is None:
            return camera
        beside = PlacedImage(known.map.images[number], found.encoded, found.transform, None)
        geometry = predict_geometry(known.model, encoded, [beside], known.options)
    focal = file_focal(geometry, photo.transform)
    least, most = (bound * max(photo.transform.original_shape) for bound in BELIEVED)
    if not math.isfinite(focal) or not least < focal < most:
        return camera
    return dataclasses.replace(camera, camera=with_focal(camera.camera, focal))
