"""What the demo takes at most, and files that lie about what they are (spec 60 D4, D8)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mast3r_model import InputError

from .file_names import megabytes, shown_name
from .settings import Graph, ReconstructionSettings
from .unzipping import unzip

PHOTO_FORMATS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "HEIF": ".heic",
}
"""What is taken, as Pillow names it by a file's content, and the suffix that its copy gets."""

_SPARSE_GRAPHS: dict[Graph, str] = {
    "retrieval": "Similar (retrieval) makes at most {}",
    "logwin": "Sequence (logwin) makes {}",
    "swin": "Sequence (swin) makes {}",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the demo takes at most.

    Attributes:
        max_photos: of a reconstruction.
        max_pixels: of a photo.
        max_file_bytes: of a photo.
        max_video_bytes: of a video.
        max_pairs: of a reconstruction.
        max_frames: taken from a video.
        max_glb_bytes: of what the page shows.
        queue_size: jobs that may wait.
        seconds: of a job, without its wait.
    """

    max_photos: int = 100
    max_pixels: int = 60_000_000
    max_file_bytes: int = 50 << 20
    max_video_bytes: int = 500 << 20
    max_pairs: int = 2000
    max_frames: int = 300
    max_glb_bytes: int = 300 << 20
    queue_size: int = 16
    seconds: float = 1800.0


@dataclass(frozen=True)
class Refusal:
    """A file that is not taken.

    Attributes:
        path: of the file.
        reason: a sentence that begins with its name.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class CheckedPhotos:
    """What became of uploaded photos.

    Attributes:
        accepted: those that can be used, in their order.
        suffixes: of each, by its content.
        refused: the others.
    """

    accepted: tuple[Path, ...]
    suffixes: tuple[str, ...]
    refused: tuple[Refusal, ...]


def check_photos(paths: Sequence[Path], limits: Limits) -> CheckedPhotos:
    """Look at the headers of uploaded files; none is decoded, so a small file that grows huge does no harm.

    Args:
        paths: of files; what they are is told by their content, not by their names.
        limits: what is taken.
    """
    accepted: list[Path] = []
    suffixes: list[str] = []
    refused: list[Refusal] = []
    for path in paths:
        found = _photo_suffix(path, limits)
        if found.startswith(".") and len(accepted) >= limits.max_photos:
            found = f"{shown_name(path)} is left out: more than {limits.max_photos} photos are not taken."
        if found.startswith("."):
            accepted.append(path)
            suffixes.append(found)
        else:
            refused.append(Refusal(path, found))
    return CheckedPhotos(tuple(accepted), tuple(suffixes), tuple(refused))


def check_video(path: Path, limits: Limits) -> None:
    """Refuse a video that is too large, or no plain file.

    Raises:
        InputError: with a sentence that says the limit.
    """
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{shown_name(path)} is no file", "upload a video")
    size = path.stat().st_size
    if size > limits.max_video_bytes:
        raise InputError(
            f"{shown_name(path)} has {megabytes(size)}; a video may have {megabytes(limits.max_video_bytes)}",
            "cut it, or lower its resolution",
        )


def check_pairs(
    count: int, photos: int, limits: Limits, settings: ReconstructionSettings | None = None
) -> None:
    """Refuse more pairs than the limit, and say which graphs would have fewer.

    Args:
        count: pairs that are wanted.
        photos: of how many photos.
        limits: what is taken.
        settings: as chosen; their windows and numbers are proposed.

    Raises:
        InputError: with the limit and the proposals.
    """
    if count <= limits.max_pairs:
        return
    base = settings or ReconstructionSettings()
    others = {graph: replace(base, graph=graph).pair_count(photos) for graph in _SPARSE_GRAPHS}
    fewer = [
        _SPARSE_GRAPHS[graph].format(pairs) for graph, pairs in others.items() if pairs <= limits.max_pairs
    ]
    raise InputError(
        f"{photos} photos make {count} pairs this way, at most {limits.max_pairs} are taken",
        f"choose other pairs: {', '.join(fewer)}" if fewer else "use fewer photos",
    )


def safe_unzip(archive: Path, folder: Path, limits: Limits) -> list[Path]:
    """Unpack an uploaded zip; see `unzipping.unzip`. The zip itself may be as large as a video."""
    return unzip(archive, folder, max_zip_bytes=limits.max_video_bytes)


def _photo_suffix(path: Path, limits: Limits) -> str:
    """The suffix for a photo's content, or a sentence that says why it is refused."""
    from PIL import Image, UnidentifiedImageError

    name = shown_name(path)
    if path.is_symlink() or not path.is_file():
        return f"{name} is no file."
    size = path.stat().st_size
    if size > limits.max_file_bytes:
        return f"{name} has {megabytes(size)}; a photo may have {megabytes(limits.max_file_bytes)}."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit decides below
            with Image.open(path, formats=_known_formats()) as photo:
                kind, (width, height) = str(photo.format), photo.size
    except Image.DecompressionBombError:
        return f"{name} has far too many pixels; a photo may have {limits.max_pixels / 1e6:g} million."
    except UnidentifiedImageError:
        return f"{name} is no photo: its content is none of {', '.join(_known_formats())}."
    except (OSError, ValueError, SyntaxError, EOFError):
        return f"{name} is broken: its header cannot be read."
    if width * height > limits.max_pixels:
        return (
            f"{name} has {width}x{height} = {width * height / 1e6:.0f} million pixels; "
            f"a photo may have {limits.max_pixels / 1e6:g} million."
        )
    return PHOTO_FORMATS[kind]


def _known_formats() -> list[str]:
    """Those that Pillow can read here; HEIC where the extra is installed."""
    from PIL import Image

    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in PHOTO_FORMATS if name in Image.OPEN]
