"""The base of every dataset of pairs: from a loader's two views to a training sample (spec 40 section 4)."""

from __future__ import annotations

import inspect
import os
from abc import abstractmethod
from copy import deepcopy
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from mast3r_model import ConfigError, InputError
from mast3r_train.datasets.algebra import DatasetAlgebra, Index
from mast3r_train.datasets.cameras import Camera
from mast3r_train.datasets.resolutions import Resolution, resolutions_of
from mast3r_train.datasets.roots import find_root
from mast3r_train.errors import SampleError
from mast3r_train.geometry import (
    PointView,
    ViewStyle,
    crop_resize,
    reciprocal_pixels,
    rotate_quarter_turns,
    to_landscape,
    world_points_of_map,
)
from mast3r_train.geometry.orientation import View
from mast3r_train.transforms import ImgNorm

from .contract import check_loaded_view, check_view, view_name
from .options import Transform, check_options, transform_of
from .overlap_crops import crop_where_views_overlap
from .signatures import full_signature


class PairDataset(DatasetAlgebra):
    """Pairs of views of a scene, made the same way for every dataset.

    A subclass reads files: it has ``__len__`` and :meth:`_get_views`, and says ``is_metric_scale``. It draws
    only from the generator that it is given, opens files late and keeps no handles, so that it works in
    forked and in spawned workers.

    Args:
        ROOT: folder of the prepared files; default: see `find_root`.
        split: which part; each dataset says what it has.
        resolution: (width, height) with width >= height, a side, or a list of those.
        transform: from PIL image to float tensor (3, H, W) in [-1, 1], or an expression for one.
        aug_crop: random crops at random zoom: False, pixels, or ``'auto'``.
        aug_swap: exchange the views of half of the pairs.
        aug_monocular: share of pairs whose second view becomes a copy of the first.
        aug_portrait_or_landscape: nearly square images become portrait or landscape at random.
        aug_rot90: False; quarter turns, the ``'same'`` for both views or ``'diff'``.
        n_corres: correspondences of a pair, matches and negatives together.
        nneg: share of negatives.
        n_tentative_crops: crops per view among which ``aug_crop`` chooses.
        seed: the same samples in every epoch; None draws new augmentations each time.
        view_style: ``'mast3r'``, or ``'dust3r'`` for DUSt3R's crops (principal point centred) without the
            augmentations of MASt3R.
        require_valid_corres: no correspondences at pixels without depth. Upstream has them: False.
        pre_crop: the loader reduces images to the target size before ``aug_crop``, as upstream's, which
            leaves ``'auto'`` no more than 10 %; False gives it the whole image.

    Raises:
        ConfigError: an option is out of range.
        InputError: the data folder is missing, or not in the expected layout.
    """

    is_metric_scale: bool
    """Whether the unit of depth and poses is the metre: of the class, or of one dataset."""

    default_folder: ClassVar[str] = ""
    """Name of the folder of the prepared files below the data root."""

    names: ClassVar[tuple[str, ...]] = ()
    """What the dataset is called in expressions and ``--data_root``; default: the class's name."""

    num_views = 2

    __signature__: ClassVar[inspect.Signature]
    """All arguments that the class takes; what checks of expressions read."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__signature__ = full_signature(cls)

    def __init__(
        self,
        *,
        ROOT: str | os.PathLike[str] | None = None,
        split: str | None = None,
        resolution: Resolution,
        transform: Transform | type | str = ImgNorm,
        aug_crop: Literal[False, "auto"] | int = False,
        aug_swap: bool = False,
        aug_monocular: float = False,
        aug_portrait_or_landscape: bool = True,
        aug_rot90: Literal[False, "same", "diff"] = False,
        n_corres: int = 0,
        nneg: float = 0,
        n_tentative_crops: int = 4,
        seed: int | None = None,
        view_style: ViewStyle = "mast3r",
        require_valid_corres: bool = True,
        pre_crop: bool = True,
    ) -> None:
        self.split = split
        self.resolutions = resolutions_of(resolution)
        self.transform = transform_of(transform)
        self.aug_crop = aug_crop
        self.aug_swap = aug_swap
        self.aug_monocular = aug_monocular
        self.aug_portrait_or_landscape = aug_portrait_or_landscape
        self.aug_rot90 = aug_rot90
        self.n_corres = n_corres
        self.nneg = nneg
        self.n_tentative_crops = n_tentative_crops
        self.seed = seed
        self.view_style = view_style
        self.require_valid_corres = require_valid_corres
        self.pre_crop = pre_crop
        check_options(self)
        if self.default_folder or ROOT is not None:
            self.root = find_root(self.names or (type(self).__name__,), ROOT, self.default_folder)

    @abstractmethod
    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        """Read the two views of a pair.

        Each is a dictionary with ``img`` (PIL, RGB), ``depthmap`` (float32 (H, W); 0 unknown, below 0 sky),
        ``camera_intrinsics``, ``camera_pose`` (cam2world), ``dataset``, ``label``, ``instance``, its image
        already gone through :meth:`_crop_resize_if_necessary`.

        Raises:
            SampleError: a file is missing or broken; the message names it.
        """

    def _require_pairs(self, source: os.PathLike[str]) -> None:
        """Called by a loader that has read its list of pairs: a dataset without any is no dataset.

        Args:
            source: the file or folder that the pairs come from.

        Raises:
            InputError: there are none.
        """
        if not len(self):
            of_split = f" of split={self.split!r}" if self.split is not None else ""
            raise InputError(f"{type(self).__name__}: {os.fspath(source)} has no pairs{of_split}")

    def get_stats(self) -> str:
        """How much there is, for ``repr``."""
        return f"{len(self):_} pairs"

    def __repr__(self) -> str:
        sizes = ";".join(f"{width}x{height}" for width, height in self.resolutions)
        name = getattr(self.transform, "__name__", None) or repr(self.transform)
        return (
            f"{type(self).__name__}({self.get_stats()}, split={self.split}, seed={self.seed}, "
            f"resolutions=[{sizes}], transform={name})"
        )

    def __getitem__(self, index: Index) -> list[View]:
        """The two views of a pair, by the twelve steps of spec 40 section 4; the comments number them.

        Args:
            index: the pair's number, or (number, resolution's number).

        Raises:
            SampleError: the pair cannot be made; the message names a file or a view.
            IndexError: there is no such pair.
        """
        number, resolution_number = self._split_index(index)
        resolution = self.resolutions[resolution_number]
        rng = self._generator(number)  # 1
        views = self._get_views(number, resolution, rng)  # 2
        for position, view in enumerate(views):  # 3
            check_loaded_view(view)
            view["idx"] = (number, resolution_number, position)
            view["is_metric_scale"] = self.is_metric_scale
            view.setdefault("camera_pose", np.full((4, 4), np.nan, dtype=np.float32))
        if self.view_style == "dust3r":
            for view in views:
                _add_points(view, finite_only=True)  # 4
                self._finish_image(view)
        else:
            self._crop(views, resolution, rng)  # 4 and 5
            for view in views:  # 6
                self._finish_image(view)
            views = self._augment(views, rng)  # 7 to 11
        for view in views:
            check_view(view)
            to_landscape(view)  # 12
            view["rng"] = int.from_bytes(rng.bytes(4), "big")
        return views

    def _crop_resize_if_necessary(
        self,
        image: Image.Image,
        depthmap: Float[np.ndarray, "h w"],
        intrinsics: Float[np.ndarray, "3 3"],
        resolution: tuple[int, int],
        rng: np.random.Generator,
        info: object = None,
    ) -> tuple[Image.Image, Float[np.ndarray, "h2 w2"], Float[np.ndarray, "3 3"]]:
        """Bring a view as it is stored to the training resolution; loaders call it for each view.

        Args:
            image: RGB.
            depthmap: float32.
            intrinsics: of the image; made float32.
            resolution: (width, height), landscape.
            rng: for the orientation of nearly square images.
            info: what errors call the view.

        Raises:
            SampleError: sizes differ, or the principal point lies outside of the image.
        """
        intrinsics = np.asarray(intrinsics, dtype=np.float32)
        if depthmap.shape[:2] != image.size[::-1]:
            raise SampleError(
                f"view {info}: the image has {image.width}x{image.height} pixels, the depth "
                f"{depthmap.shape[1]}x{depthmap.shape[0]}"
            )
        if not self.pre_crop and self.aug_crop is not False:
            return image, depthmap, intrinsics
        return self._resized(image, depthmap, intrinsics, resolution, rng, info)

    def _view_of(
        self,
        image: Image.Image,
        depthmap: Float[np.ndarray, "h w"],
        camera: Camera,
        resolution: tuple[int, int],
        rng: np.random.Generator,
        *,
        dataset: str,
        label: str,
        instance: str,
        info: object = None,
    ) -> View:
        """A view as `_get_views` gives it, from what a loader has read; see `_crop_resize_if_necessary`.

        Args:
            camera: intrinsics of the image, and cam2world.
            dataset: what the view says that it comes from.
            label: of the scene.
            instance: of the photo; the two views of a pair differ in it.
        """
        intrinsics, cam2world = camera
        image, depthmap, intrinsics = self._crop_resize_if_necessary(
            image, depthmap, intrinsics, resolution, rng, info
        )
        return {
            "img": image,
            "depthmap": depthmap,
            "camera_pose": cam2world.astype(np.float32),
            "camera_intrinsics": intrinsics,
            "dataset": dataset,
            "label": label,
            "instance": instance,
        }

    def _resized(
        self,
        image: Image.Image,
        depthmap: np.ndarray,
        intrinsics: np.ndarray,
        resolution: tuple[int, int],
        rng: np.random.Generator,
        info: object,
    ) -> tuple[Image.Image, np.ndarray, np.ndarray]:
        try:
            image, depth, K = crop_resize(
                image,
                depthmap,
                intrinsics,
                resolution,
                rng,
                style=self.view_style,
                aug_crop=int(self.aug_crop) if self.view_style == "dust3r" else 0,
                random_if_square=self.aug_portrait_or_landscape,
            )
        except ValueError as error:
            raise SampleError(f"view {info}: {error}") from error
        assert depth is not None
        return image, depth, K

    def _crop(self, views: list[View], resolution: tuple[int, int], rng: np.random.Generator) -> None:
        """Steps 4 and 5: to the final size; points before it only where the crops are chosen by them."""
        if self.aug_crop is False:
            for view in views:
                view["img"], view["depthmap"], view["camera_intrinsics"] = self._resized(
                    view["img"], view["depthmap"], view["camera_intrinsics"], resolution, rng, view_name(view)
                )
                _add_points(view)
            return
        for view in views:
            _add_points(view)
        crop_where_views_overlap(
            views,
            [_point_view(view) for view in views],
            resolution,
            rng,
            aug_crop=self.aug_crop,
            tentative_crops=self.n_tentative_crops,
            random_if_square=self.aug_portrait_or_landscape,
        )
        for view in views:
            _add_points(view)

    def _finish_image(self, view: View) -> None:
        """Step 6: the image becomes a tensor."""
        width, height = view["img"].size
        view["true_shape"] = np.array((height, width), dtype=np.int32)
        view["img"] = self.transform(view["img"])
        view["sky_mask"] = view["depthmap"] < 0

    def _augment(self, views: list[View], rng: np.random.Generator) -> list[View]:
        """Steps 7 to 11: swap, monocular pairs, correspondences, quarter turns."""
        if self.aug_swap and rng.random() < 0.5:
            views = views[::-1]
        if self.aug_monocular and rng.random() < self.aug_monocular:
            views = [deepcopy(views[0]) for _ in views]
        if self.n_corres > 0 and "corres" not in views[0]:
            self._add_correspondences(views, rng)
        if self.aug_rot90:
            turns = int(rng.choice(4)) if self.aug_rot90 == "same" else None
            for view in views:
                rotate_quarter_turns(view, int(rng.choice(4)) if turns is None else turns)
        for view in views:
            view.setdefault("corres", np.full((self.n_corres, 2), np.nan, dtype=np.float32))
        return views

    def _add_correspondences(self, views: list[View], rng: np.random.Generator) -> None:
        pairs = reciprocal_pixels(
            *(_point_view(view) for view in views), require_valid=self.require_valid_corres
        )
        try:
            drawn = pairs.sample(self.n_corres, self.nneg, rng)
        except ValueError as error:
            raise SampleError(f"pair {' and '.join(map(view_name, views))}: {error}") from error
        for view, pixels in zip(views, (drawn.xy1, drawn.xy2), strict=True):
            view["corres"] = pixels
            view["valid_corres"] = drawn.valid

    def _split_index(self, index: Index) -> tuple[int, int]:
        if isinstance(index, tuple):
            number, resolution_number = index
        elif len(self.resolutions) == 1:
            number, resolution_number = index, 0
        else:
            raise ConfigError(f"{self!r} has several resolutions: index it with (index, resolution index)")
        if not 0 <= number < len(self):
            raise IndexError(f"item {number} of a dataset of {len(self)} items")
        return int(number), int(resolution_number)

    def _generator(self, number: int) -> np.random.Generator:
        """The sample's own stream; without a seed it comes from torch's, which the loop seeds per batch."""
        if self.seed is not None:
            return np.random.default_rng(seed=self.seed + number)
        drawn = int(torch.randint(2**62, ()))
        return np.random.default_rng([drawn, self.stream_index])


def _add_points(view: View, *, finite_only: bool = False) -> None:
    """World points and validity from depth, intrinsics and pose."""
    view["pts3d"] = world_points_of_map(view["depthmap"], view["camera_intrinsics"], view["camera_pose"])
    view["valid_mask"] = view["depthmap"] > 0
    if finite_only:
        view["valid_mask"] &= np.isfinite(view["pts3d"]).all(axis=-1)


def _point_view(view: View) -> PointView:
    return PointView(view["pts3d"], view["camera_intrinsics"], view["camera_pose"], view["valid_mask"])
