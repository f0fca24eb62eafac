"""True poses of queries, from a COLMAP model, a text file or a kapture folder (spec 50 A8, C1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mast3r_model import InputError
from mast3r_visloc.formats import is_kapture, read_kapture

from .names import match_names
from .pose_files import read_poses

_SUFFIXES = (".bin", ".txt")
_MODEL_PLACES = (".", "sparse/0", "sparse", "colmap", "colmap/reconstruction", "reconstruction")
MAX_NAMED = 5


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """True poses.

    Attributes:
        poses: 4x4 float64 cam2world by name, all in one world.
        source: where they were read from, for people.
    """

    poses: Mapping[str, Float[np.ndarray, "4 4"]]
    source: str

    def of(self, names: Iterable[str], *, complete: bool = False) -> dict[str, Float[np.ndarray, "4 4"]]:
        """Poses of photos, by the full name, else by a base name that is unique on both sides.

        Args:
            names: of photos; all that are asked for, because one base name may stand for several.
            complete: refuse photos without a pose; otherwise they are left out.

        Raises:
            InputError: none of the photos has a pose, or not all where that is asked for.
        """
        wanted = list(names)
        known = match_names(wanted, self.poses)
        missing = [name for name in wanted if name not in known]
        if missing and (complete or not known):
            shown = ", ".join(missing[:MAX_NAMED]) + (", ..." if len(missing) > MAX_NAMED else "")
            there = next(iter(self.poses), "none")
            raise InputError(
                f"{self.source} has no pose of {len(missing)} of {len(wanted)} photos: {shown}",
                f"photos are found by name, or by their file's name if it is unique; a name there: {there}",
            )
        return {name: self.poses[found] for name, found in known.items()}


def read_truth(path: Path) -> GroundTruth:
    """Read true poses, from what is recognised by its content.

    | path | is |
    |---|---|
    | folder with ``images.bin`` or ``images.txt``, also in ``sparse/0`` and the like | COLMAP model |
    | folder with ``sensors/sensors.txt``, or the ``sensors/trajectories.txt`` in it | kapture |
    | file | ``name qw qx qy qz tx ty tz``, world to camera |

    Raises:
        InputError: nothing is there, it is none of these, or it cannot be read.
    """
    if path.is_file() and path.name == "trajectories.txt" and is_kapture(path.parent.parent):
        return read_truth(path.parent.parent)
    if path.is_file():
        return GroundTruth(read_poses(path), str(path))
    if not path.is_dir():
        raise InputError(f"no such file or folder of true poses: {path}", "check the path")
    if is_kapture(path):
        return GroundTruth(_kapture_poses(path), str(path))
    for place in _MODEL_PLACES:
        if any((path / place / f"images{suffix}").is_file() for suffix in _SUFFIXES):
            return GroundTruth(_model_poses(path / place), str(path / place))
    raise InputError(
        f"{path} holds no true poses",
        "expected a COLMAP model (cameras, images, points3D), a kapture folder (sensors/sensors.txt), "
        "or a file with lines 'name qw qx qy qz tx ty tz'",
    )


def _model_poses(folder: Path) -> dict[str, Float[np.ndarray, "4 4"]]:
    import pycolmap

    try:
        model = pycolmap.Reconstruction(folder)
    except Exception as error:  # pycolmap raises whatever its C++ code throws
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InputError(f"cannot read the COLMAP model {folder}: {reason}") from error
    poses = dict(_posed_images(model))
    if not poses:
        raise InputError(f"the COLMAP model {folder} has no image with a pose")
    return poses


def _posed_images(model) -> Iterator[tuple[str, Float[np.ndarray, "4 4"]]]:  # type: ignore[no-untyped-def]
    for image in model.images.values():
        if image.has_pose:
            pose = np.eye(4)
            pose[:3] = image.cam_from_world().inverse().matrix()
            yield image.name, pose


def _kapture_poses(folder: Path) -> dict[str, Float[np.ndarray, "4 4"]]:
    data = read_kapture(folder)
    poses = {photo.name: pose for photo in data.photos if (pose := data.cam2world(photo)) is not None}
    if not poses:
        raise InputError(
            f"the kapture folder {folder} has no photo with a pose", "see sensors/trajectories.txt"
        )
    return poses
