"""The images of a reconstruction: found, named, checked, at the network's size (spec 30, issue 3)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mast3r_match import find_masks, find_photos
from mast3r_model import ImageError, ImageTransform, InputError, LoadedImage, load_image, load_mask, read_rgb

from .progress import Progress, shown
from .scene import DroppedImage
from .threads import in_threads
from .video import FrameChoice, extract_frames, is_video

LOADING_THREADS = 8

LEAST_CONTRAST = 8
"""Grey levels between a photo's 1st and 99th percentile; with less it shows nothing, dark or bright."""


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image as the network sees it; the photo itself stays on the disk.

    Attributes:
        name: unique within its set, relative, with forward slashes.
        path: the file.
        pixels: (h, w, 3) uint8 RGB at the network's size.
        transform: between the upright photo's pixels and the network's.
        digest: of pixels and transform, hex: equal for equal content and preprocessing.
        allowed: (h, w), False where the image may not match; None for everywhere.
    """

    name: str
    path: Path
    pixels: UInt8[np.ndarray, "h w 3"]
    transform: ImageTransform
    digest: str
    allowed: Bool[np.ndarray, "h w"] | None = None

    @classmethod
    def from_loaded(
        cls, loaded: LoadedImage, name: str, allowed: Bool[np.ndarray, "h w"] | None = None
    ) -> SourceImage:
        """From what `load_image` returns; its tensor is kept as uint8."""
        scaled = (loaded.tensor.permute(1, 2, 0) * 0.5 + 0.5) * 255
        pixels = np.ascontiguousarray(scaled.round().clamp(0, 255).to(torch.uint8).numpy())
        return cls.from_pixels(name, loaded.path, pixels, loaded.transform, allowed)

    @classmethod
    def from_pixels(
        cls,
        name: str,
        path: Path,
        pixels: UInt8[np.ndarray, "h w 3"],
        transform: ImageTransform,
        allowed: Bool[np.ndarray, "h w"] | None = None,
    ) -> SourceImage:
        """From what the network saw of a photo; its digest is that of the same photo read from its file."""
        return cls(name, path, pixels, transform, _digest(pixels, transform), allowed)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) at the network's size."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def tensor(self) -> Float[Tensor, "3 h w"]:
        """The network's input in [-1, 1]: to the bit what `load_image` made."""
        return network_input(self.pixels)

    def original(self) -> UInt8[np.ndarray, "H W 3"]:
        """The upright photo, read from its file."""
        return read_rgb(self.path)


@dataclass(frozen=True, eq=False)
class ImageSet(Sequence[SourceImage]):
    """The images of a reconstruction, numbered 0..N-1 in order.

    Attributes:
        images: those that can be used.
        dropped: those that cannot, each with its reason.
    """

    images: tuple[SourceImage, ...]
    dropped: tuple[DroppedImage, ...] = ()

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            InputError: two images have one name.
        """
        seen: set[str] = set()
        for image in self.images:
            if image.name in seen:
                raise InputError(f"two images are named {image.name!r}", "give every image a name of its own")
            seen.add(image.name)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> SourceImage:  # type: ignore[override]
        """One image by its number."""
        return self.images[index]

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names, in order."""
        return tuple(image.name for image in self.images)

    def index(self, name: object, start: int = 0, stop: int | None = None) -> int:
        """The number of the image of this name.

        Raises:
            InputError: there is none.
        """
        try:
            return self.names.index(str(name), start, len(self) if stop is None else stop)
        except ValueError:
            raise InputError(f"no image is named {name!r}") from None

    def subset(self, indices: Iterable[int]) -> ImageSet:
        """Some of the images, renumbered in the order given."""
        return ImageSet(tuple(self.images[index] for index in indices), self.dropped)


def open_images(
    inputs: Sequence[str | Path],
    *,
    size: int = 512,
    patch_size: int = 16,
    masks: Sequence[Path] = (),
    recursive: bool = False,
    frames: FrameChoice | None = None,
    frames_folder: Path | None = None,
    keep_duplicates: bool = False,
    progress: Progress | None = None,
) -> ImageSet:
    """Find and check the images of a reconstruction::

        images = open_images(["photos/"], size=512)
        images = open_images(["walk.mp4"], frames=FrameChoice(count=60), frames_folder=Path("scene/frames"))

    Every file is read once; the network-size pixels stay in memory (0.6 MB an image at 512x384).

    Args:
        inputs: folders, files, quoted globs, ``.txt`` lists, video files.
        size: long side of the network's input in pixels.
        patch_size: of the network.
        masks: one file per photo, or one folder of masks named like the photos; black may not match.
        recursive: look into folders of folders.
        frames: which frames to take from videos.
        frames_folder: where frames are written, one folder per video; needed for videos.
        keep_duplicates: keep images of equal content; else all but the first are dropped.
        progress: shows bars; what is raised from one ends the reading.

    Returns:
        The usable images; unreadable ones and duplicates are in ``dropped`` with their reasons.

    Raises:
        InputError: nothing is there, or the masks do not fit.
        ImageError: a mask of another size than its photo.
        OutputError: frames cannot be written.
    """
    paths: list[Path] = []
    for given in inputs:
        if is_video(given):
            if frames_folder is None:
                raise InputError(f"{given} is a video, and no folder for its frames is given")
            folder = frames_folder / Path(given).stem
            paths += extract_frames(Path(given), folder, frames or FrameChoice(), progress=progress)
        else:
            paths += find_photos([given], recursive=recursive)
    paths = list(dict.fromkeys(paths))
    if not paths:
        raise InputError("no images were given", "give a folder, files, or a video")
    folders = {Path(given) for given in inputs}
    names = _names(paths, folders.pop() if len(folders) == 1 else None)
    masks_of = find_masks(masks, paths)
    loaded = _load_all(paths, names, masks_of, size=size, patch_size=patch_size, progress=progress)
    return _usable(loaded, keep_duplicates=keep_duplicates)


def images_from_loaded(loaded: Sequence[LoadedImage], names: Sequence[str] | None = None) -> ImageSet:
    """Images that are in memory already.

    Args:
        loaded: what `load_image` returned.
        names: one each; by default the paths, shortened by the folder that they share.
    """
    chosen = names if names is not None else _names([image.path for image in loaded], None)
    return ImageSet(
        tuple(SourceImage.from_loaded(image, name) for image, name in zip(loaded, chosen, strict=True))
    )


def network_input(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "3 h w"]:
    """Network-size pixels as the network takes them, in [-1, 1]."""
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return channels_first.to(torch.float32).div_(255).sub_(0.5).div_(0.5)


def _load_all(
    paths: Sequence[Path],
    names: Sequence[str],
    masks: Sequence[Path | None],
    *,
    size: int,
    patch_size: int,
    progress: Progress | None,
) -> list[SourceImage | DroppedImage]:
    def load(wanted: tuple[Path, str, Path | None]) -> SourceImage | DroppedImage:
        path, name, mask = wanted
        try:
            loaded = load_image(path, size, patch_size=patch_size)
            if any(side % patch_size for side in loaded.transform.network_shape):
                # Upstream cuts square photos to 4:3, which is whole patches at 512, but not at every size.
                loaded = load_image(path, size, patch_size=patch_size, square_ok=True)
        except ImageError as error:
            extra = "mast3r-model[heic]" in (error.hint or "")
            return DroppedImage(name, f"{error.message}; {error.hint}" if extra else error.message)
        image = SourceImage.from_loaded(loaded, name, _allowed(mask, loaded.transform))
        return DroppedImage(name, "it shows nothing: all of it is of one colour") if _blank(image) else image

    wanted = list(zip(paths, names, masks, strict=True))
    with shown(progress, "reading photos", len(wanted)) as advance:
        return in_threads(load, wanted, workers=min(LOADING_THREADS, os.cpu_count() or 1), advance=advance)


def _allowed(mask: Path | None, transform: ImageTransform) -> Bool[np.ndarray, "h w"] | None:
    if mask is None:
        return None
    return np.ascontiguousarray(transform.map_to_network(load_mask(mask, transform.original_shape)))


def _blank(image: SourceImage) -> bool:
    darkest, brightest = np.percentile(image.pixels.reshape(-1, 3), (1, 99), axis=0)
    return bool((brightest - darkest < LEAST_CONTRAST).all())


def _usable(loaded: Sequence[SourceImage | DroppedImage], *, keep_duplicates: bool) -> ImageSet:
    images: list[SourceImage] = []
    dropped: list[DroppedImage] = []
    first_with: dict[str, str] = {}
    for image in loaded:
        if isinstance(image, DroppedImage):
            dropped.append(image)
            continue
        first = first_with.setdefault(image.digest, image.name)
        if first != image.name and not keep_duplicates:
            dropped.append(DroppedImage(image.name, f"the same picture as {first}"))
        else:
            images.append(image)
    if not images:
        reasons = "; ".join(sorted({drop.reason for drop in dropped})[:3])
        raise InputError(
            f"none of the {len(loaded)} images can be used: {reasons}", "give photos that can be opened"
        )
    return ImageSet(tuple(images), tuple(dropped))


def _names(paths: Sequence[Path], folder: Path | None) -> list[str]:
    """Paths relative to the one folder given, else to the folder that all share."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    if folder is not None and folder.is_dir():
        base = Path(os.path.abspath(folder))
    else:
        base = Path(os.path.commonpath([path.parent for path in absolute])) if absolute else Path()
    return [path.relative_to(base).as_posix() for path in absolute]


def _digest(pixels: UInt8[np.ndarray, "h w 3"], transform: ImageTransform) -> str:
    digest = hashlib.sha256(repr((transform.original_shape, transform.network_shape)).encode())
    digest.update(transform.network_from_original.tobytes())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
