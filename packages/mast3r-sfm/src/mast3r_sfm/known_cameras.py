"""What a user knows about the cameras, as the aligner takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from mast3r_model import InputError, exif_focal

from .cameras import PosedCameras, read_cameras
from .photos import ImageSet
from .sparse import CameraPriors

LIKELY_FOCAL_SIGMA = 0.002
"""Of the log focal that a camera noted. Such notes are 1 or 2 % off; but the alignment counts each of ten
thousands of matches as a witness of its own, while their errors have much in common, and would outvote a
prior as loose as that: on a real set of 11 photos with `nano`, before refinement, 0.01 ends 20 % off, 0.005
5 %, 0.002 0.5 %, no prior 11 %."""


@dataclass(frozen=True, kw_only=True)
class KnownCameras:
    """Cameras that are known before the reconstruction, in the photos' own pixels.

    Attributes:
        intrinsics: cameras whose intrinsics count, by name; images that it does not name are free.
        poses: cameras whose poses count, by name.
        shared_intrinsics: (3, 3) of every photo.
        focal_sigma: standard deviation of the log focal; 0 keeps intrinsics exactly.
        rotation_sigma: of poses, in radians; 0 keeps them exactly.
        translation_sigma: of poses, in world units.
        likely_focals: focal lengths in pixels, by the photo's name, that hold only about, such as
            `exif_focals`; intrinsics that are known count before them.
        likely_focal_sigma: standard deviation of their logarithm.
    """

    intrinsics: PosedCameras | None = None
    poses: PosedCameras | None = None
    shared_intrinsics: np.ndarray | None = None
    focal_sigma: float = 0.0
    rotation_sigma: float = 0.0
    translation_sigma: float = 0.0
    likely_focals: Mapping[str, float] = field(default_factory=dict)
    likely_focal_sigma: float = LIKELY_FOCAL_SIGMA


def exif_focals(images: ImageSet) -> dict[str, float]:
    """Focal lengths that the cameras noted in the photos, by name, in pixels of the photos::

        known = KnownCameras(likely_focals=exif_focals(images))

    Photos without such a note (see `exif_focal`), or whose file is gone, are left out.
    """
    noted = {image.name: exif_focal(image.path) for image in images if image.path.is_file()}
    return {name: focal for name, focal in noted.items() if focal is not None}


def with_noted_focals(images: ImageSet, known: KnownCameras | None) -> KnownCameras | None:
    """The same, and of photos whose intrinsics are not known the focal lengths that their cameras noted."""
    noted = exif_focals(images)
    return replace(known or KnownCameras(), likely_focals=noted) if noted else known


def check_known(images: ImageSet, known: KnownCameras | None) -> None:
    """See that known cameras are of these photos, before anything long is computed.

    Raises:
        InputError: known intrinsics, or known poses, that name none of the photos.
    """
    if known is None:
        return
    for what, cameras in (("intrinsics", known.intrinsics), ("poses", known.poses)):
        if cameras is not None and all(index is None for index in cameras.find(images.names)):
            raise InputError(
                f"the known {what} name none of the {len(images)} photos",
                f"they name {', '.join(cameras.names[:3])}; the photos are {', '.join(images.names[:3])}",
            )
    if known.intrinsics is not None and not any(
        matrix is not None for matrix in known_intrinsics(images, known)
    ):
        raise InputError("the known cameras have poses, but no intrinsics", "give them as --poses")


def camera_priors(images: ImageSet, known: KnownCameras | None, *, shared_intrinsics: bool) -> CameraPriors:
    """Priors of these images, in network pixels.

    Args:
        images: a group of connected images.
        known: what is known.
        shared_intrinsics: all images share focal and principal point.
    """
    count = len(images)
    if known is None:
        return CameraPriors.build(count, shared_intrinsics=shared_intrinsics)
    focal = torch.full((count,), torch.nan, dtype=torch.float64)
    center = torch.full((count, 2), torch.nan, dtype=torch.float64)
    pose = torch.full((count, 4, 4), torch.nan, dtype=torch.float64)
    focal_sigma = torch.full((count,), known.focal_sigma, dtype=torch.float64)
    for number, original in enumerate(known_intrinsics(images, known)):
        likely = known.likely_focals.get(images[number].name)
        if original is None and likely is not None:
            scale = np.diag(images[number].transform.network_from_original)[:2]
            focal[number] = likely * float(np.sqrt(scale.prod()))
            focal_sigma[number] = known.likely_focal_sigma
        elif original is not None:
            network = images[number].transform.intrinsics_to_network(original)
            focal[number] = float(np.sqrt(network[0, 0] * network[1, 1]))
            center[number] = torch.from_numpy(network[:2, 2].copy())
    if known.poses is not None:
        for number, found in enumerate(known.poses.find(images.names)):
            if found is not None:
                pose[number] = torch.from_numpy(known.poses.cam2world[found])
    return CameraPriors.build(
        count,
        focal=focal,
        focal_sigma=focal_sigma,
        principal_point=center,
        principal_point_sigma=known.focal_sigma * torch.nan_to_num(focal, nan=0.0),
        cam2world=pose,
        rotation_sigma=known.rotation_sigma,
        translation_sigma=known.translation_sigma,
        shared_intrinsics=shared_intrinsics,
    )


def known_poses(images: ImageSet, known: KnownCameras | None) -> list[bool]:
    """Of each image, whether its pose is known."""
    if known is None or known.poses is None:
        return [False] * len(images)
    return [found is not None for found in known.poses.find(images.names)]


def known_intrinsics(images: ImageSet, known: KnownCameras | None) -> list[Float[np.ndarray, "3 3"] | None]:
    """Of each image, its known intrinsics in the photo's pixels; None where they are not known."""
    if known is None:
        return [None] * len(images)
    if known.shared_intrinsics is not None:
        return [np.asarray(known.shared_intrinsics, np.float64)] * len(images)
    cameras = known.intrinsics
    if cameras is None:
        return [None] * len(images)
    found = [None if index is None else cameras.intrinsics[index] for index in cameras.find(images.names)]
    return [matrix if matrix is not None and np.isfinite(matrix).all() else None for matrix in found]


def read_known_cameras(intrinsics: Path | None, poses: Path | None) -> KnownCameras | None:
    """What files say about cameras.

    Args:
        intrinsics: a text file of a 3x3 matrix for all photos, or anything that `read_cameras` reads.
        poses: anything that `read_cameras` reads.

    Raises:
        InputError: one cannot be read.
    """
    if intrinsics is None and poses is None:
        return None
    posed = None if poses is None else read_cameras(poses)
    if intrinsics is not None and intrinsics.is_file() and intrinsics.suffix.lower() != ".json":
        return KnownCameras(shared_intrinsics=_read_matrix(intrinsics), poses=posed)
    return KnownCameras(intrinsics=None if intrinsics is None else read_cameras(intrinsics), poses=posed)


def _read_matrix(path: Path) -> Float[np.ndarray, "3 3"]:
    try:
        matrix = np.loadtxt(path, dtype=np.float64)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read intrinsics from {path}: {error}", "expected a 3x3 matrix") from error
    if matrix.shape != (3, 3):
        raise InputError(f"{path} holds an array of shape {matrix.shape}", "expected a 3x3 matrix")
    return matrix
