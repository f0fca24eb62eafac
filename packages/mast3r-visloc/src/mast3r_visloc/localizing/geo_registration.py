"""From GPS to a map's frame: where a photo was taken, roughly, in a map that is geo-registered (spec 50 D2).

A map is geo-registered if photos of it have a GPS position in their EXIF, and most of those positions lie as
its cameras do: a similarity transform between the two leaves little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.maps import LocalizationMap
from mast3r_visloc.maps.gps import GeoPosition, east_north_up, photo_position

from .similarity import LARGEST_UNEXPLAINED, Similarity, fit_similarity

LEAST_PHOTOS = 4
"""Of the map with GPS: three positions fit nearly anything."""

LEAST_KEPT = 0.5
"""Share of them that must agree."""

FAR_OFF = 3.0
"""Times the median gap: photos whose GPS is farther off do not count."""

NEAR_ENOUGH = 0.01
"""Share of the map's extent: nearer ones always count."""

_TRIES = 300
_ROUNDS = 10


@dataclass(frozen=True, eq=False)
class GeoRegistration:
    """Where on the earth a map lies.

    Attributes:
        origin: of the frame of east, north and up, in metres.
        world_from_enu: from there to the map's frame.
        photos: of the map that were used.
        gap: root mean square of what remains between their GPS and their cameras, in the map's unit.
        middle: (3,) of the used photos, east, north, up.
        along: (3,) where all photos were taken along a line: its direction, of unit length, east, north, up.
            How the map is turned about it is not known. None otherwise.
    """

    origin: GeoPosition
    world_from_enu: Similarity
    photos: int
    gap: float
    middle: Float[np.ndarray, " 3"]
    along: Float[np.ndarray, " 3"] | None = None

    @property
    def up_and_north(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Unit vectors in the map's frame; only of a map whose photos do not lie on a line."""
        _, north, up = self.world_from_enu.rotation.T.tolist()
        return tuple(up), tuple(north)

    def centre(self, position: GeoPosition) -> Float[np.ndarray, " 3"]:
        """Where in the map a photo of this GPS position was taken.

        Without altitude it is taken to be as high as the map's photos. Where these lie on a line it is the
        nearest place of the line.

        Args:
            position: of the photo.
        """
        if self.origin.altitude is None:
            position = replace(position, altitude=None)
        place = east_north_up([position], self.origin)[0]
        if position.altitude is None:
            place[2] = self.middle[2]
        if self.along is not None:
            place = self.middle + self.along * (self.along @ (place - self.middle))
        moved: Float[np.ndarray, " 3"] = self.world_from_enu.apply(place[None])[0]
        return moved


def geo_register(localization_map: LocalizationMap) -> GeoRegistration:
    """Find where on the earth a map lies, by the GPS positions of its own photos.

    Altitudes count where all of these photos have one.

    Args:
        localization_map: its photos are opened, but only their headers read.

    Raises:
        InputError: the map is not geo-registered; the message says why.
    """
    posed = [image for image in localization_map.images if image.cam2world is not None]
    noted = [(image, found) for image in posed if (found := photo_position(image.path)) is not None]
    source = localization_map.source
    if len(noted) < LEAST_PHOTOS:
        raise InputError(
            f"{source} is not geo-registered: {len(noted)} of its {len(posed)} photos with a pose have a GPS "
            f"position in EXIF, {LEAST_PHOTOS} are needed",
            "give rough poses of the photos with --prior FILE",
        )
    positions = [found for _, found in noted]
    if any(found.altitude is None for found in positions):
        positions = [replace(found, altitude=None) for found in positions]
    enu = east_north_up(positions, positions[0])
    world = np.array([image.cam2world[:3, 3] for image, _ in noted if image.cam2world is not None])
    similarity, rows = _fit(enu, world)
    rest = similarity.apply(enu[rows]) - world[rows]
    gap, extent = (float(np.sqrt((each**2).sum(axis=1).mean())) for each in (rest, _centred(world[rows])))
    if rows.mean() < LEAST_KEPT or similarity.scale <= 0 or gap > LARGEST_UNEXPLAINED * extent:
        raise InputError(
            f"{source} is not geo-registered: the GPS positions of its {len(noted)} photos do not lie as its "
            f"cameras do ({gap:.3g} apart, of {extent:.3g} in the map's unit)",
            "the photos are too close together for GPS, or it is wrong: give rough poses with --prior FILE",
        )
    spread, axes = np.linalg.svd(_centred(enu[rows]), full_matrices=False)[1:]
    noise = gap / similarity.scale * np.sqrt(rows.sum())
    on_a_line = bool(spread[1] <= max(noise, 1e-3 * spread[0]))
    return GeoRegistration(
        positions[0], similarity, int(rows.sum()), gap, enu[rows].mean(axis=0), axes[0] if on_a_line else None
    )


def _fit(
    enu: Float[np.ndarray, "n 3"], world: Float[np.ndarray, "n 3"]
) -> tuple[Similarity, Float[np.ndarray, " n"]]:
    """Least squares of those that are not far off, and which these are.

    It starts with the transform of three photos whose median gap is the least, so that few wrong positions do
    no harm, however wrong.
    """
    random = np.random.default_rng(0)
    triples = np.array([random.choice(len(enu), 3, replace=False) for _ in range(_TRIES)])
    scales, rotations, translations = fit_similarity(enu[triples], world[triples], np.ones(triples.shape))
    moved = scales[:, None, None] * (enu @ np.swapaxes(rotations, 1, 2)) + translations[:, None]
    gaps = np.linalg.norm(moved - world, axis=-1)
    gap = gaps[np.median(gaps, axis=1).argmin()]
    floor = NEAR_ENOUGH * float(np.linalg.norm(_centred(world), axis=1).max())
    rows = np.zeros(len(enu), dtype=bool)
    for _ in range(_ROUNDS):
        near = gap <= max(FAR_OFF * float(np.median(gap)), floor)
        if np.array_equal(near, rows):
            break
        rows = near
        scale, rotation, translation = fit_similarity(enu[rows], world[rows], np.ones(int(rows.sum())))
        found = Similarity(float(scale), rotation, translation)
        gap = np.linalg.norm(found.apply(enu) - world, axis=1)
    return found, rows


def _centred(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    centred: Float[np.ndarray, "n 3"] = points - points.mean(axis=0)
    return centred
