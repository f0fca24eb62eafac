"""From what the browser sent to photos of the session, with thumbnails (spec 60 D2, D4, D8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError

from .limits import Limits, check_photos, check_video
from .visits import Visit

THUMBNAIL = 192
"""Long side in pixels."""

PHOTO_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif"]
VIDEO_TYPES = [".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"]


@dataclass(frozen=True)
class Taken:
    """The photos of a reconstruction.

    Attributes:
        paths: in the session, in the page's order.
        names: what the visitor calls them.
        refused: a sentence for each file that is not taken.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    refused: tuple[str, ...]


def take_photos(visit: Visit, given: Sequence[str] | None, limits: Limits) -> Taken:
    """Check what was uploaded, and copy what is good into the session.

    Args:
        visit: whose.
        given: gradio's paths.
        limits: what is taken.
    """
    checked = check_photos([Path(path) for path in dict.fromkeys(given or ())], limits)
    copies = visit.take([str(path) for path in checked.accepted], checked.suffixes)
    return Taken(
        tuple(copies),
        tuple(path.name for path in checked.accepted),
        tuple(refusal.reason for refusal in checked.refused),
    )


def take_video(visit: Visit, given: str | None, limits: Limits) -> Path | None:
    """Check an uploaded video, and copy it into the session.

    Raises:
        InputError: it is too large, or of another kind.
    """
    if given is None:
        return None
    path = Path(given)
    if path.suffix.lower() not in VIDEO_TYPES:
        raise InputError(f"{path.name} is no video", f"taken are {', '.join(VIDEO_TYPES)}")
    check_video(path, limits)
    return visit.take([given], [path.suffix.lower()])[0]


def thumbnails(visit: Visit, taken: Taken) -> list[tuple[str, str]]:
    """A small picture of each photo with its caption, for the gallery; each is made once."""
    return [
        (str(_thumbnail(visit, path)), f"{number + 1}: {name}")
        for number, (path, name) in enumerate(zip(taken.paths, taken.names, strict=True))
    ]


def _thumbnail(visit: Visit, photo: Path) -> Path:
    from PIL import Image, ImageOps

    folder = visit.served / "thumbnails"
    target = folder / f"{photo.stem}.webp"
    if target.is_file():
        return target
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with Image.open(photo) as opened:
            opened.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            opened.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
            small = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError):
        small = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "#7f1d1d")  # the job will say that it is broken
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(target, "WEBP", quality=80)
    return target
