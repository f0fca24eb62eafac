"""The flags that ``localize`` and ``evaluate`` share, as options of localisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mast3r_model import ConfigError, InputError
from mast3r_model.cli import ModelOptions
from mast3r_visloc.localizing import LocalizationOptions
from mast3r_visloc.pnp import check_threshold, find_solver, parse_threshold
from mast3r_visloc.reference import ReferenceOptions

UPSTREAM_PIXELS = 5.0
"""Upstream's threshold where none is given."""

NOT_UPSTREAMS = (
    "exhaustive", "cluster", "align", "densify", "focal", "size", "map_stride", "points_per_image",
    "min_inliers", "max_chance",
)  # fmt: skip
"""Flags that upstream's way has nothing like: to ignore them would be to pretend."""
NOT_OF_POINTS3D = ("pixel_tolerance", "fine", "max_image_size", "homography", "max_batch_size")
"""Flags that the script of plain DUSt3R does not have (spec 50 A1)."""


@dataclass(frozen=True)
class MatchingFlags:
    """As the user gave them; None where a flag was not given and its default depends on others.

    `given` names the parameters that have no default's value, those of other flags too.
    """

    size: int | None
    topk: int | None
    exhaustive: bool
    cluster: bool
    fine: bool
    max_image_size: int | None
    homography: bool | None
    pixel_tolerance: float
    min_confidence: float | None
    map_stride: int
    points_per_image: int
    solver: str | None
    threshold: str | None
    reprojection_error: float | None
    reprojection_error_diag_ratio: float | None
    min_inliers: int
    max_chance: float
    max_points: int
    focal: Literal["auto", "known", "refine", "estimate"]
    align: bool
    densify: bool
    max_batch_size: int | None
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a threshold that is given twice.

        Raises:
            InputError: more than one of the three flags that mean it.
        """
        given = {
            "--threshold": self.threshold,
            "--reprojection-error": self.reprojection_error,
            "--reprojection-error-diag-ratio": self.reprojection_error_diag_ratio,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise InputError(f"{' and '.join(named)} both give the threshold", "give one of them")

    def check(self) -> None:
        """Refuse what would be refused by the first query, before a network is loaded.

        Raises:
            InputError: an unknown solver, or a threshold that cannot be read.
        """
        check_threshold(self._threshold())
        find_solver(self.solver or "poselib")

    def unused(self) -> list[str]:
        """Of flags that change nothing here, what to tell the user."""
        return [
            f"--{name.replace('_', '-')} is not used: it is of --fine"
            for name in ("max_image_size", "homography", "max_batch_size")
            if name in self.given and not self.fine and getattr(self, name) is not False
        ]

    def options(self, model: ModelOptions, *, retrieval: str) -> LocalizationOptions:
        """Options of our own way.

        Raises:
            InputError: a value outside its range.
        """
        batch_size = model.batch_size or self.max_batch_size
        return LocalizationOptions(
            retrieval=retrieval,
            topk=20 if self.topk is None else self.topk,
            exhaustive=self.exhaustive,
            cluster=self.cluster,
            fine=self.fine,
            max_image_size=self.max_image_size,
            homography=self.homography is not False,
            pixel_tolerance=self.pixel_tolerance,
            min_confidence=1.001 if self.min_confidence is None else self.min_confidence,
            map_stride=self.map_stride,
            points_per_image=self.points_per_image,
            solver=self.solver or "poselib",
            threshold=self._threshold(),
            min_inliers=self.min_inliers,
            max_chance=self.max_chance,
            max_points=self.max_points,
            focal=self.focal,
            align=self.align,
            densify=self.densify,
            size=self.size,
            batch_size=8 if batch_size is None else batch_size,
            seed=model.seed,
        )

    def _threshold(self) -> str:
        """One spelling for one meaning: a run goes on with either."""
        if self.reprojection_error is not None:
            return f"{self.reprojection_error:.12g}px"
        if self.reprojection_error_diag_ratio is not None:
            return f"{100 * self.reprojection_error_diag_ratio:.12g}%"
        return self.threshold or "0.8%"

    def reference(self, model: ModelOptions, matcher: Literal["descriptors", "points3d"]) -> ReferenceOptions:
        """Options of upstream's way.

        Raises:
            ConfigError: a value outside its range, or a flag that upstream has nothing like.
            InputError: a solver or a threshold that upstream does not know.
        """
        self._refuse(NOT_UPSTREAMS, "--parity")
        if matcher == "points3d":
            self._refuse(NOT_OF_POINTS3D, "--matcher points3d")
        if self.pixel_tolerance % 1:
            raise ConfigError(
                f"--parity needs a --pixel-tolerance of whole pixels, got {self.pixel_tolerance:g}"
            )
        pixels, ratio = self.upstream_threshold()
        solver = self.solver or "cv2"
        if solver not in ("cv2", "poselib", "pycolmap"):
            raise InputError(f"--parity knows the solvers cv2, poselib and pycolmap, got {solver!r}")
        return ReferenceOptions(
            matcher=matcher,
            confidence_threshold=self.min_confidence,
            pixel_tol=int(self.pixel_tolerance),
            coarse_to_fine=self.fine,
            max_image_size=self.max_image_size,
            c2f_crop_with_homography=bool(self.homography),
            pnp_mode=solver,  # type: ignore[arg-type]
            reprojection_error=pixels,
            reprojection_error_diag_ratio=ratio,
            max_batch_size=self.max_batch_size or model.batch_size or 48,
            pnp_max_points=self.max_points,
            seed=model.seed,
        )

    def _refuse(self, names: tuple[str, ...], beside: str) -> None:
        for name in names:
            if name in self.given:
                raise ConfigError(
                    f"--{name.replace('_', '-')} means nothing with {beside}", "leave out one of them"
                )

    def upstream_threshold(self, default: float | None = None) -> tuple[float, float | None]:
        """The threshold in upstream's two terms: pixels, and the share of the diagonal that replaces them.

        Args:
            default: the share where no threshold was given; None for upstream's 5 pixels.
        """
        if self.reprojection_error is not None:
            return self.reprojection_error, None
        if self.reprojection_error_diag_ratio is not None:
            return UPSTREAM_PIXELS, self.reprojection_error_diag_ratio
        if self.threshold is None:
            return UPSTREAM_PIXELS, default
        value, unit = parse_threshold(self.threshold)
        if unit != "%":
            return value, None
        # 0.9 / 100 is 0.009000000000000001, which would also stand in the name of the result files.
        return UPSTREAM_PIXELS, float(f"{value / 100:.12g}")
