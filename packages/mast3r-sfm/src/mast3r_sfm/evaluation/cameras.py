"""Cameras against known cameras (spec 30 section 6.8; the measures usual in the field)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mast3r_model import NothingFoundError
from mast3r_sfm.cameras import PosedCameras

from .alignment import align_cameras, mean_rotation

THRESHOLDS = (5, 15, 30)
MISSING = 180.0
"""Error of a pair of which one image is not registered."""
SAME_PLACE = 1e-9
"""Relative baseline below which a pair has no direction of translation."""


@dataclass(frozen=True)
class CameraErrors:
    """One registered camera's errors.

    Attributes:
        name: of the true camera.
        rotation: angle in degrees, after one rotation of the whole.
        translation: distance of the centres in true units, after one similarity of the whole.
        focal: relative, ``|f / f_true - 1|``, of the geometric means of both focal lengths; NaN if the true
            intrinsics are not known.
    """

    name: str
    rotation: float
    translation: float
    focal: float


@dataclass(frozen=True)
class CameraEvaluation:
    """How near cameras are to the true ones. Angles in degrees, lengths in the truth's units.

    Rotations are compared after the best rotation of the whole (chordal mean), centres after the best
    similarity. The measures of pairs need no alignment; a pair of true images counts as wrong if one of them
    is not registered.

    Attributes:
        images: with a known true camera.
        registered: share of them that the reconstruction placed.
        rotation_error_mean: over registered images.
        rotation_error_median: likewise.
        rotation_error_max: likewise.
        translation_error_mean: of centres, over registered images.
        translation_error_median: likewise.
        ate: root mean square of these distances (absolute trajectory error).
        ate_relative: the same in units of the root mean square distance of true centres from their mean.
        scale: of the similarity, from reconstructed to true units.
        focal_error_mean: relative, over registered images with known intrinsics; NaN if there are none.
        rra: share of pairs whose relative rotation is less than so many degrees off, by threshold.
        rta: share of pairs whose direction of relative translation is; opposite directions are 180 off.
        maa30: mean over 1..30 degrees of the share of pairs whose both angles are less off than that.
        cameras: errors of each registered image.
    """

    images: int
    registered: float
    rotation_error_mean: float
    rotation_error_median: float
    rotation_error_max: float
    translation_error_mean: float
    translation_error_median: float
    ate: float
    ate_relative: float
    scale: float
    focal_error_mean: float
    rra: dict[int, float]
    rta: dict[int, float]
    maa30: float
    cameras: tuple[CameraErrors, ...]

    def rows(self) -> Iterator[tuple[str, str]]:
        """What a table shows: labels and values."""
        yield "images with known camera", str(self.images)
        yield "registered", _share(self.registered)
        yield (
            "rotation error, mean / median / max",
            (
                f"{self.rotation_error_mean:.3f} / {self.rotation_error_median:.3f} / "
                f"{self.rotation_error_max:.3f} degrees"
            ),
        )
        yield (
            "centre error, mean / median",
            (f"{self.translation_error_mean:.4g} / {self.translation_error_median:.4g}"),
        )
        yield "ATE (RMS of centres)", f"{self.ate:.4g} ({_share(self.ate_relative)} of the cameras' spread)"
        if np.isfinite(self.focal_error_mean):
            yield "relative focal error, mean", _share(self.focal_error_mean)
        for threshold in self.rra:
            yield (
                f"RRA@{threshold} / RTA@{threshold}",
                (f"{_share(self.rra[threshold])} / {_share(self.rta[threshold])}"),
            )
        yield "mAA(30)", _share(self.maa30)
        yield "scale to true units", f"{self.scale:.6g}"


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"


def compare_cameras(
    found: PosedCameras, truth: PosedCameras, *, thresholds: Sequence[int] = THRESHOLDS
) -> CameraEvaluation:
    """Compare cameras with the true ones of the same images.

    Args:
        found: a reconstruction's (of one group of connected images).
        truth: the known ones; images are matched by name, see `PosedCameras.find`.
        thresholds: in degrees, for RRA and RTA.

    Raises:
        NothingFoundError: no image of the truth is in the reconstruction.
    """
    places = found.find(truth.names)
    registered = np.array([place is not None for place in places])
    if not registered.any():
        raise NothingFoundError(
            f"none of the {len(truth)} known cameras is among the {len(found)} reconstructed ones",
            f"their names: {', '.join(truth.names[:2])}, ...; {', '.join(found.names[:2])}, ...",
        )
    estimated = found.subset(place for place in places if place is not None)
    true = truth.subset(np.flatnonzero(registered))
    rotation, translation, scale = _absolute_errors(estimated.cam2world, true.cam2world)
    focal = np.abs(_focals(estimated.intrinsics) / _focals(true.intrinsics) - 1)
    rotation_off, translation_off = _pair_errors(estimated.cam2world, true.cam2world)
    missing = _pairs(len(truth)) - _pairs(len(true))
    rotation_off = np.concatenate([rotation_off, np.full(missing, MISSING)])
    translation_off = np.concatenate([translation_off, np.full(missing, MISSING)])
    both = np.maximum(rotation_off, np.nan_to_num(translation_off, nan=0.0))
    with_baseline = translation_off[~np.isnan(translation_off)]
    spread = np.sqrt(((true.cam2world[:, :3, 3] - true.cam2world[:, :3, 3].mean(0)) ** 2).sum(1).mean())
    ate = float(np.sqrt((translation**2).mean()))
    return CameraEvaluation(
        images=len(truth),
        registered=float(registered.mean()),
        rotation_error_mean=float(rotation.mean()),
        rotation_error_median=float(np.median(rotation)),
        rotation_error_max=float(rotation.max()),
        translation_error_mean=float(translation.mean()),
        translation_error_median=float(np.median(translation)),
        ate=ate,
        ate_relative=ate / float(spread) if spread > 0 else 0.0,
        scale=scale,
        focal_error_mean=float(np.nanmean(focal)) if np.isfinite(focal).any() else float("nan"),
        rra={threshold: _below(rotation_off, threshold) for threshold in thresholds},
        rta={threshold: _below(with_baseline, threshold) for threshold in thresholds},
        maa30=float(np.mean([_below(both, threshold) for threshold in range(1, 31)])),
        cameras=tuple(
            CameraErrors(name, float(angle), float(distance), float(off))
            for name, angle, distance, off in zip(true.names, rotation, translation, focal, strict=True)
        ),
    )


def _absolute_errors(
    found: Float[np.ndarray, "n 4 4"], true: Float[np.ndarray, "n 4 4"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], float]:
    rotations = mean_rotation(found[:, :3, :3], true[:, :3, :3]) @ found[:, :3, :3]
    similarity = align_cameras(found, true)
    distance = np.linalg.norm(similarity.apply(found[:, :3, 3]) - true[:, :3, 3], axis=1)
    return _angles(np.swapaxes(rotations, 1, 2) @ true[:, :3, :3]), distance, similarity.scale


def _pair_errors(
    found: Float[np.ndarray, "n 4 4"], true: Float[np.ndarray, "n 4 4"]
) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """Angles of the relative rotations and directions of all pairs; NaN where a true baseline is zero."""
    first, second = np.triu_indices(len(found), k=1)
    relative = []
    for poses in (found, true):
        R, centre = poses[:, :3, :3], poses[:, :3, 3]
        back = np.swapaxes(R[first], 1, 2)
        relative.append((back @ R[second], np.einsum("nij,nj->ni", back, centre[second] - centre[first])))
    (R_found, t_found), (R_true, t_true) = relative
    off = _angles(np.swapaxes(R_found, 1, 2) @ R_true)
    lengths = np.linalg.norm(t_found, axis=1) * np.linalg.norm(t_true, axis=1)
    sine = np.linalg.norm(np.cross(t_found, t_true), axis=1)
    direction = np.degrees(np.arctan2(sine, (t_found * t_true).sum(1)))
    baselines = np.linalg.norm(t_true, axis=1)
    none = baselines <= SAME_PLACE * baselines.max(initial=0)
    return off, np.where(none, np.nan, np.where(lengths > 0, direction, MISSING))


def _angles(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " n"]:
    """Angles of rotations in degrees, exact near 0 too."""
    skew = rotations - np.swapaxes(rotations, 1, 2)
    sine = np.linalg.norm(np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1), axis=1) / 2
    return np.degrees(np.arctan2(sine, (np.trace(rotations, axis1=1, axis2=2) - 1) / 2))


def _focals(intrinsics: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " n"]:
    return np.sqrt(intrinsics[:, 0, 0] * intrinsics[:, 1, 1])


def _pairs(images: int) -> int:
    return images * (images - 1) // 2


def _below(errors: Float[np.ndarray, " pairs"], threshold: float) -> float:
    """Share of errors below a threshold; of a single image, which has no pairs: 1."""
    return float((errors < threshold).mean()) if len(errors) else 1.0
