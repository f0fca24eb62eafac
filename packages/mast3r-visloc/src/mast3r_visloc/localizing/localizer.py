"""Where was this photo taken: the whole way from a map and a photo to a pose (spec 50 D)."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mast3r_model import ImageError, InputError
from mast3r_visloc.cameras import LISTED, Camera, PhotoCameraError, QueryCamera, query_camera
from mast3r_visloc.datasets import Candidate, Query
from mast3r_visloc.maps import LocalizationMap, NetworkPoints, network_points
from mast3r_visloc.poses import Pose

from .densify import Densifier
from .implied_focal import with_implied_focal
from .index import MapIndex, network_size
from .options import LocalizationOptions, localization_options
from .outcome import Stopwatch, as_pose, check_map, not_aligned
from .photos import FileTransform, NetworkPhoto, check_detail, read_photo
from .query_matching import QueryMatcher
from .retrieval import CandidateFinder, Prior, candidate_finder
from .search import search
from .threads import in_threads

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo, EncodedImage

REMEMBERED_IMAGES = 256
"""Map images whose points stay in memory."""


class Localizer:
    """Localises photos in a map::

        with Localizer(read_map("map/"), load_model()) as localizer:
            pose = localizer.localize("photo.jpg")
        pose.cam2world, pose.num_inliers, pose.reason

    The map's images are encoded once: beforehand by `build_index`, else as they are needed. A query is
    encoded once for all its candidates.

    Args:
        localization_map: as `read_map` returns it.
        model: a network, as `mast3r_model.load_model` returns it.
        options: how to localise.
        camera: of all photos for which no other is given, in the pixels of their files; None for what EXIF
            says, or a focal length that is found with the pose.
        pairs: map images to try by the query's name, for ``retrieval="pairs"``.
        priors: for ``retrieval="near"``, by the query's name: rough 4x4 cam2world, or (3,) camera centres.
        radius: of ``near``, in the map's unit.
        progress: called with the number of map images just looked at, while retrieval is prepared.
        **keywords: fields of `LocalizationOptions` that differ from `options`.

    Raises:
        InputError: options that mean nothing, or no image of the map has 3D points and queries are not to be
            aligned with cameras either.
        CheckpointError: a retrieval checkpoint that cannot be read.
    """

    def __init__(
        self,
        localization_map: LocalizationMap,
        model: AsymmetricCroCo3DStereo,
        options: LocalizationOptions | None = None,
        *,
        camera: Camera | None = None,
        pairs: Mapping[str, Sequence[Candidate]] | None = None,
        priors: Mapping[str, Prior] | None = None,
        radius: float | None = None,
        progress: Callable[[int], None] | None = None,
        **keywords: object,
    ) -> None:
        self.options = localization_options(options, keywords)
        self.map, self.model, self.camera = localization_map, model, camera
        check_map(localization_map, self.options)
        self.index = MapIndex.of(
            localization_map,
            model,
            size=network_size(model, self.options.size),
            batch_size=self.options.batch_size,
        )
        self._make_finder: Callable[[], CandidateFinder] = lambda: candidate_finder(
            self.options.retrieval,
            self.index,
            topk=self.options.topk,
            pairs=pairs,
            priors=priors,
            radius=radius,
            progress=progress,
        )
        self._finder: CandidateFinder | None = None
        if self.options.densify:
            self.map = Densifier(localization_map, model, self.index, self.options).completed()
        self._points: OrderedDict[int, NetworkPoints] = OrderedDict()
        self._lock = threading.Lock()
        self.network_lock = threading.Lock()

    def localize(
        self,
        image: str | Path,
        *,
        camera: Camera | None = None,
        candidates: Sequence[str] | None = None,
        name: str | None = None,
    ) -> Pose:
        """Find where a photo was taken.

        Args:
            image: the photo.
            camera: of it, in the pixels of its file; None for that of all photos.
            candidates: names of map images to try, best first; None to find them.
            name: of the photo in the result and in lists; None for its path.

        Returns:
            The pose; without success it says why.

        Raises:
            ImageError: the photo cannot be read.
            InputError: a camera that does not fit the photo, or a candidate that is not in the map.
        """
        path = Path(image)
        return self._localize(Query(str(path) if name is None else name, path, camera), candidates)

    def localize_many(
        self, images: Iterable[str | Path], *, camera: Camera | None = None, jobs: int = 1
    ) -> Iterator[Pose]:
        """Find where photos were taken, as `localize` does, several at a time.

        Args:
            images: the photos.
            camera: of all of them, in the pixels of their files; None for that of the localizer.
            jobs: photos at a time, in threads.

        Yields:
            The pose of each photo, in their order; its name is the photo's path.

        Raises:
            ImageError: a photo cannot be read.
            InputError: a camera that does not fit a photo.
        """
        queries = (Query(str(image), Path(image), camera) for image in images)
        for _, pose in self.localize_queries(queries, jobs=jobs):
            yield pose

    def localize_queries(
        self,
        queries: Iterable[Query],
        *,
        candidates: Callable[[Query], Sequence[str]] | None = None,
        jobs: int = 1,
        on_unreadable: Callable[[Query, InputError], None] | None = None,
    ) -> Iterator[tuple[Query, Pose]]:
        """Localise photos; no more of them are in memory than are worked on.

        Args:
            queries: photos with names and, where known, cameras.
            candidates: names of map images to try for a query; None to find them.
            jobs: photos at a time, in threads: while the network looks at one, poses of others are solved.
            on_unreadable: called with the ImageError or PhotoCameraError of a photo that cannot be read, or
                whose camera does not fit it, which is then left out; None raises.

        Yields:
            Each query with its pose, in their order.

        Raises:
            ImageError: a photo cannot be read.
            InputError: as for `localize`.
        """

        def work(query: Query) -> Pose | InputError:
            try:
                return self._localize(query, None if candidates is None else candidates(query))
            except (ImageError, PhotoCameraError) as error:
                if on_unreadable is None:
                    raise
                return error

        for query, found in in_threads(work, queries, jobs):
            if not isinstance(found, InputError):
                yield query, found
            elif on_unreadable is not None:
                on_unreadable(query, found)

    def close(self) -> None:
        """Delete what was kept on the disk for this run."""
        self.index.close()

    def __enter__(self) -> Self:
        """For ``with``."""
        return self

    def __exit__(self, *_: object) -> None:
        """`close`."""
        self.close()

    def query_camera(self, query: Query) -> QueryCamera:
        """The camera that a query is localised with, and where it comes from.

        Raises:
            ImageError: the photo cannot be read.
            InputError: the camera does not fit the photo.
        """
        photo = read_photo(query.path, size=self.index.size, patch_size=self.model.patch_size)
        return self._camera(query, photo)

    def _camera(self, query: Query, photo: NetworkPhoto) -> QueryCamera:
        return query_camera(
            query.path,
            photo.transform.original_shape,
            listed=query.camera or self.camera,
            listed_source=query.camera_source or LISTED,
            focal=self.options.focal,
        )

    def _localize(self, query: Query, names: Sequence[str] | None) -> Pose:
        watch = Stopwatch()
        photo = read_photo(query.path, size=self.index.size, patch_size=self.model.patch_size)
        blurred = check_detail(photo, str(query.path), patch_size=self.model.patch_size)
        camera = self._camera(query, photo)
        watch.lap("read")
        with self.network_lock:
            encoded = self.model.encode([photo.tensor])[0]
        watch.lap("encode")
        if names is None:
            names = [candidate.name for candidate in self._find(query, encoded)]
        names = list(dict.fromkeys(names))  # lists may name one twice, which is no further evidence
        self._check_names(names)
        watch.lap("retrieve")
        if names and camera.focal == "estimate" and not camera.focal_known:
            camera = with_implied_focal(self, photo, camera, encoded, names[0])
            watch.lap("focal length")
        matcher = QueryMatcher(self, photo, camera, encoded)
        solution = search(names, matcher.match, camera, self.options)
        watch.lap("match and solve")
        if self.options.align and not solution.result.success:
            solution = matcher.align(names) or not_aligned(solution, names[: self.options.topk])
            watch.lap("align")
        pose = as_pose(query, camera, solution, watch.seconds)
        return pose if blurred is None else dataclasses.replace(pose, warnings=(*pose.warnings, blurred))

    def _find(self, query: Query, encoded: EncodedImage) -> Sequence[Candidate]:
        # It may encode the map; and retrievers are prepared once, and may keep what they prepared.
        with self.network_lock:
            if self._finder is None:
                self._finder = self._make_finder()
            return self._finder(query, encoded)

    def _check_names(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in self.map.index_of]
        if unknown:
            raise InputError(f"{unknown[0]!r} is no image of the map {self.map.source}")

    def points(self, number: int, transform: FileTransform) -> NetworkPoints:
        """What map image `number` sees, in network pixels; the last ones asked for stay in memory."""
        with self._lock:
            if number in self._points:
                self._points.move_to_end(number)
                return self._points[number]
        image = self.map.images[number]
        assert image.load_points is not None
        found = network_points(
            image.load_points(), transform, stride=self.options.map_stride, cam2world=image.cam2world
        ).spread(self.options.points_per_image)
        with self._lock:
            self._points[number] = found
            if len(self._points) > REMEMBERED_IMAGES:
                self._points.popitem(last=False)
        return found
