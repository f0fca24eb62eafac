"""The page's third tab: where a photo was taken, by whoever registered for that (spec 60 D1).

Localizers are found by the hook ``mast3r_localizers``; without one the tab is hidden.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageOps

from mast3r_model import InputError, registry

from .limits import safe_unzip

if TYPE_CHECKING:
    from jaxtyping import Float

    from mast3r_model import AsymmetricCroCo3DStereo

    from .jobs import JobControl
    from .limits import Limits
    from .reconstruction import Reconstruction
    from .session_folder import Session

KIND = "localizers"
ORIENTATION = 0x0112
"""EXIF's tag."""


@dataclass(frozen=True, eq=False)
class LocalizedPhoto:
    """Where a photo was taken, or why that is not known.

    Attributes:
        photo: the upright photo.
        success: whether there is a pose.
        cam2world: 4x4 in the map's world; None without success.
        num_inliers: matches that agree with the pose.
        reason: why there is none; None with success.
        intrinsics: 3x3 in the photo's pixels; None if the localizer does not say.
    """

    photo: Path
    success: bool
    cam2world: Float[np.ndarray, "4 4"] | None
    num_inliers: int
    reason: str | None
    intrinsics: Float[np.ndarray, "3 3"] | None = None

    def sentence(self) -> str:
        """The result in words."""
        if self.cam2world is None:
            return f"Not found: {self.reason or 'no reason is known'}."
        x, y, z = self.cam2world[:3, 3]
        focal = "" if self.intrinsics is None else f", focal length {self.intrinsics[0, 0]:.0f} px"
        return f"Found at ({x:.2f}, {y:.2f}, {z:.2f}){focal}: {self.num_inliers:,} matches agree."


def localizer_names() -> tuple[str, ...]:
    """Who can localise; empty: the tab is hidden. Nothing heavy is imported."""
    return tuple(registry(KIND).names())


def map_of_result(result: Reconstruction, session: Session) -> Path:
    """The current reconstruction as a map: a folder inside the session.

    Raises:
        OutputError: it cannot be written.
    """
    from mast3r_sfm import ViewFilters, filtered

    folder = session.folder / "map"
    clean = filtered(result.scene, ViewFilters(clean_depth=True))
    scene = replace(clean, image_folder=str(_photo_folder(result)))
    scene.save(folder, formats=())
    return folder


def map_of_upload(archive: Path, session: Session, limits: Limits) -> Path:
    """An uploaded zip as a map: a COLMAP model, or what the page's downloads hold.

    Raises:
        InputError: the zip is unsafe, or too large.
    """
    from .session_folder import remove_tree

    folder = session.folder / "uploaded_map"
    remove_tree(folder)
    safe_unzip(archive, folder, limits)
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir() and inside[0].name != "sparse":
        folder = inside[0]
    return folder


def localize_photo(
    map_path: Path,
    photo: Path,
    model: AsymmetricCroCo3DStereo,
    control: JobControl,
    *,
    localizer: str | None = None,
) -> LocalizedPhoto:
    """Find where a photo was taken.

    Args:
        map_path: from `map_of_result` or `map_of_upload`.
        photo: of the session; a photo that EXIF says to turn is replaced by a turned one.
        model: a network.
        control: of the job.
        localizer: one of `localizer_names`; None: the first.

    Raises:
        InputError: nobody is registered, the map cannot be used, ...
        ImageError: the photo cannot be read.
        Cancelled: the job was cancelled.
    """
    names = localizer_names()
    if not names:
        raise InputError("nothing that localises photos is installed", "pip install mast3r-visloc")
    factory = registry(KIND)[localizer or names[0]]
    assert callable(factory)
    make_upright(photo)
    with control.progress("reading the map", 2) as advance:
        opened = cast(Any, factory(map_path, model))
        try:
            advance(1)
            control.note("matching the photo with the map")
            found = opened.localize(photo)
            advance(1)
        finally:
            if hasattr(opened, "close"):
                opened.close()
    pose = None if found.cam2world is None else np.asarray(found.cam2world, np.float64)
    return LocalizedPhoto(
        photo,
        bool(found.success),
        pose if found.success else None,
        int(found.num_inliers),
        found.reason,
        getattr(found, "intrinsics", None),
    )


def make_upright(photo: Path) -> None:
    """Turn a photo's pixels as its EXIF says, in place, so that file and picture have the same pixels.

    The rest of EXIF stays: localizers take focal lengths from it. A file that Pillow cannot read is left
    alone; who opens it next says so.
    """
    with (
        suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError),
        Image.open(photo) as opened,
    ):
        exif = opened.getexif()
        if exif.get(ORIENTATION, 1) == 1:
            return
        format_ = opened.format if opened.format in ("JPEG", "PNG", "TIFF", "WEBP") else "JPEG"
        upright = ImageOps.exif_transpose(opened)
        exif[ORIENTATION] = 1
        temporary = photo.with_name(f".{photo.name}.upright")
        upright.convert("RGB").save(temporary, format_, exif=exif, quality=95)
        temporary.replace(photo)


def _photo_folder(result: Reconstruction) -> Path:
    """The folder that the names of a result's photos are relative to.

    Raises:
        InputError: the photos lie here and there.
    """
    roots = set()
    for image in result.images:
        parts = Path(image.name).parts
        if image.path.parts[-len(parts) :] == parts:
            roots.add(Path(*image.path.parts[: -len(parts)]))
    if len(roots) != 1:
        raise InputError(
            "the photos of this reconstruction are not in one folder", "localise in a COLMAP model"
        )
    return roots.pop()
