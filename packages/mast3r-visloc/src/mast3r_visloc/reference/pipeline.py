"""Upstream's localisation of one query, from its views to its pose (spec 50 A5 to A7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from mast3r_model import InputError
from mast3r_visloc.poses import Pose

from .capping import CappedPhoto, cap_photo, capped_shape
from .coarse_to_fine import match_finely
from .map_matches import MapMatches
from .matching import (
    KnownPoints,
    PixelMatches,
    match_coarsely,
    match_known_points,
    match_predicted_points,
    to_original_pixels,
)
from .network import PairNetwork, PairPredictor, long_side
from .options import ReferenceOptions
from .solving import solve_pose
from .views import ReferenceView

MatchesSink = Callable[[str, str, MapMatches], None]
"""Takes the query's name, the map image's name, and their matches before the confidence threshold."""


class ReferencePipeline:
    """Localises queries as upstream's scripts do, for numbers that compare with theirs.

    Args:
        model: a network by upstream's dict contract.
        options: upstream's flags; None for its defaults.
        on_matches: is handed the matches of every pair, also those below the confidence threshold.

    Attributes:
        maxdim: longest side of the network's input, which the views must be made for.
    """

    def __init__(
        self,
        model: PairNetwork,
        options: ReferenceOptions | None = None,
        *,
        on_matches: MatchesSink | None = None,
    ) -> None:
        self.options = options or ReferenceOptions()
        self.maxdim = long_side(model)
        self._network = PairPredictor(model)
        self._on_matches = on_matches

    def localize(self, views: Iterable[ReferenceView]) -> Pose:
        """Find the pose of a query.

        Args:
            views: the query's, then those of its map images, best first; read one after the other.

        Returns:
            The pose, or why there is none; with the correspondences at or above the confidence threshold.

        Raises:
            InputError: no view at all, a map view without 3D points, or for coarse to fine an image smaller
                than a window.
        """
        remaining = iter(views)
        query = next(remaining, None)
        if query is None:
            raise InputError("a query needs at least its own view, got no views")
        started = time.perf_counter()
        names: list[str] = []
        kept: list[MapMatches] = []
        capped = self._capped_for_windows(query)
        for map_view in remaining:
            found = self._match(query, map_view, capped)
            if self._on_matches is not None:
                self._on_matches(query.image_name, map_view.image_name, found)
            names.append(map_view.image_name)
            kept.append(found[found.confidence >= self.options.min_confidence])
        return solve_pose(query, names, kept, self.options, {"match": time.perf_counter() - started})

    def match(self, query: ReferenceView, map_view: ReferenceView) -> MapMatches:
        """All matches of a query with one map image, in the photos' pixels.

        Args:
            query: the query's view.
            map_view: a map image's view.

        Raises:
            InputError: as for `localize`.
        """
        return self._match(query, map_view, self._capped_for_windows(query))

    def _capped_for_windows(self, query: ReferenceView) -> CappedPhoto | None:
        """The query at the size that windows are cut from; None if it is matched whole.

        Only the query's size decides, as upstream (trap 10).
        """
        if not self.options.coarse_to_fine:
            return None
        if max(capped_shape(query.rgb.size, self.options.max_image_size)) <= self.maxdim:
            return None
        return cap_photo(query, self.options.max_image_size)

    def _match(
        self, query: ReferenceView, map_view: ReferenceView, capped_query: CappedPhoto | None
    ) -> MapMatches:
        known = _known_points(map_view)
        if self.options.matcher == "points3d":
            pointed = self._network.point(query.rgb_rescaled, map_view.rgb_rescaled)
            confident = match_predicted_points(*pointed, known, self.options.min_confidence)
            return _in_photos(confident, query, map_view)
        of_query, of_map = self._network.describe(query.rgb_rescaled[None], map_view.rgb_rescaled[None])[0]
        if capped_query is None:
            found = match_known_points(of_query, of_map, known, self.options.pixel_tol)
            return _in_photos(found, query, map_view)
        query_xy, map_xy = match_coarsely(of_query, of_map)
        return match_finely(
            self._network,
            capped_query,
            cap_photo(map_view, self.options.max_image_size),
            to_original_pixels(query_xy, query.to_orig),
            to_original_pixels(map_xy, map_view.to_orig),
            maxdim=self.maxdim,
            options=self.options,
        )


def _known_points(map_view: ReferenceView) -> KnownPoints:
    if map_view.pts3d_rescaled is None or map_view.valid_rescaled is None:
        raise InputError(
            f"map image {map_view.image_name} has no 3D points", hint="the first view is the query's"
        )
    return KnownPoints(map_view.pts3d_rescaled, np.asarray(map_view.valid_rescaled))


def _in_photos(found: PixelMatches, query: ReferenceView, map_view: ReferenceView) -> MapMatches:
    return MapMatches(
        to_original_pixels(found.query_xy, query.to_orig),
        to_original_pixels(found.map_xy, map_view.to_orig),
        found.xyz,
        found.confidence,
    )
