"""One query against images of the map: what they say of it, and, where that is too little, alignment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from mast3r_visloc.cameras import QueryCamera
from mast3r_visloc.maps import LocalizationMap, NetworkPoints

from .alignment import align
from .evidence import ImageEvidence
from .fine_matching import LARGEST_GAP, FineImage, FinePhoto, match_windows
from .index import MapIndex
from .options import LocalizationOptions
from .pair_matching import KnownImage, match_known_images
from .photos import FileTransform, NetworkPhoto, read_photo
from .pointmaps import PlacedImage
from .search import Solution, agreeing
from .window_features import WindowEncoder

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo, EncodedImage


IMAGES_IN_MEMORY = 16
"""Map images whose features, and photos for windows, are in memory at a time."""


class KnownMap(Protocol):
    """What is known of a map; `Localizer` is one."""

    map: LocalizationMap
    model: AsymmetricCroCo3DStereo
    options: LocalizationOptions
    index: MapIndex
    network_lock: Lock
    """Held while the network works: it has all cores, while poses of other queries are solved beside it."""

    def points(self, number: int, transform: FileTransform) -> NetworkPoints:
        """What map image `number` sees, in network pixels."""
        ...


class QueryMatcher:
    """Matches one query with map images.

    Args:
        known: the map.
        photo: the query.
        camera: of it.
        encoded: its features.
    """

    def __init__(
        self, known: KnownMap, photo: NetworkPhoto, camera: QueryCamera, encoded: EncodedImage
    ) -> None:
        self.known, self.photo, self.camera, self.encoded = known, photo, camera, encoded
        self._coarse: list[ImageEvidence] = []
        self._fine: dict[float, FinePhoto] = {}
        self._windows = WindowEncoder(known.model, known.options.batch_size)

    def match(self, names: Sequence[str]) -> Iterator[tuple[str, ImageEvidence]]:
        """What the map images of these names say of the query; those without points or photo say nothing."""
        known = self.known
        numbers = [known.map.index_of[name] for name in names]
        numbers = [number for number in numbers if known.map.images[number].load_points is not None]
        for start in range(0, len(numbers), IMAGES_IN_MEMORY):
            with known.network_lock:
                found = self._match(numbers[start : start + IMAGES_IN_MEMORY])
            yield from found

    def _match(self, numbers: Sequence[int]) -> list[tuple[str, ImageEvidence]]:
        known, options = self.known, self.known.options
        features = known.index.get(numbers)
        images = [
            KnownImage(found.encoded, found.transform, known.points(number, found.transform))
            for number, found in features.items()
        ]
        coarse = list(match_known_images(known.model, self.encoded, self.photo.transform, images, options))
        found = self._again(list(features), coarse) if options.fine else coarse
        return [
            (known.map.images[number].name, dataclasses.replace(part, numbered=image.points.numbered))
            for number, part, image in zip(features, found, images, strict=True)
        ]

    def _again(self, numbers: Sequence[int], coarse: Sequence[ImageEvidence]) -> list[ImageEvidence]:
        """Coarse to fine; windows of several images share batches."""
        before = len(self._coarse)
        self._coarse += coarse
        guides = agreeing(self._coarse, self.camera, self.known.options)[before:]
        found = list(coarse)
        guided = [row for row, guide in enumerate(guides) if len(guide)]
        images = [self._fine_image(numbers[row], coarse[row], guides[row]) for row in guided]
        for row, evidence in zip(
            guided, match_windows(self._windows, images, self.known.options), strict=True
        ):
            found[row] = evidence
        return found

    def _fine_image(self, number: int, coarse: ImageEvidence, guides: ImageEvidence) -> FineImage:
        known, options = self.known, self.known.options
        image = known.map.images[number]
        assert image.load_points is not None
        photo = read_photo(image.path, size=known.index.size, patch_size=known.model.patch_size)
        largest = LARGEST_GAP * self._fine_query(math.inf).enlargement
        fine_photo = FinePhoto.of(photo, image.camera, options, most=largest)
        query = self._fine_query(LARGEST_GAP * fine_photo.enlargement)
        return FineImage(query, fine_photo, image.load_points(), image.cam2world, coarse, guides)

    def _fine_query(self, most: float) -> FinePhoto:
        """The query enlarged at most so much, to the next quarter: map photos of like sizes share it."""
        if not self._fine:
            full = FinePhoto.of(self.photo, self.camera.camera, self.known.options)
            self._fine[full.enlargement] = full
        full_size = next(iter(self._fine))
        limit = full_size if most >= full_size else min(math.ceil(4 * most) / 4, full_size)
        if limit not in self._fine:
            self._fine[limit] = FinePhoto.of(self.photo, self.camera.camera, self.known.options, most=limit)
        return self._fine[limit]

    def align(self, names: Sequence[str]) -> Solution | None:
        """The pose by the network's own geometry, from the first `topk` map images of these names.

        Returns:
            None if it finds none.

        Raises:
            InputError: a map's camera that does not fit its photo.
        """
        known, options = self.known, self.known.options
        numbers = [known.map.index_of[name] for name in names[: options.topk]]
        images = []
        with known.network_lock:
            for number, found in known.index.get(numbers).items():
                image = known.map.images[number]
                points = None if image.load_points is None else known.points(number, found.transform)
                images.append(PlacedImage(image, found.encoded, found.transform, points))
            return align(known.model, self.encoded, self.photo.transform, self.camera, images, options)
