"""Names of upstream's result files (spec 50 A8)."""

from __future__ import annotations

from typing import Literal

from mast3r_model import ConfigError

Matcher = Literal["descriptors", "points3d"]


def result_label(
    *,
    confidence_threshold: float,
    pixel_tol: float = 5,
    coarse_to_fine: bool = False,
    max_image_size: int | None = None,
    homography: bool = False,
    reprojection_error: float = 5.0,
    reprojection_error_diag_ratio: float | None = None,
    output_label: str = "",
    matcher: Matcher = "descriptors",
) -> str:
    """What the result files of a run with upstream's options are called, without ``_results.txt``.

    Args:
        confidence_threshold: ``--confidence_threshold``.
        pixel_tol: ``--pixel_tol``; not looked at for ``points3d``.
        coarse_to_fine: ``--coarse_to_fine``.
        max_image_size: ``--max_image_size``.
        homography: ``--c2f_crop_with_homography``; only named together with coarse-to-fine.
        reprojection_error: ``--reprojection_error``, pixels.
        reprojection_error_diag_ratio: ``--reprojection_error_diag_ratio``; takes the place of the former.
        output_label: ``--output_label``.
        matcher: ``points3d`` for the script for plain DUSt3R, whose label is shorter.

    Raises:
        ConfigError: an output label that holds a folder.
    """
    if "/" in output_label or "\\" in output_label or "\0" in output_label:
        raise ConfigError(
            f"the label of result files must be no path, got {output_label!r}", "choose the folder with -o"
        )
    parts = [output_label] if output_label else []
    parts.append("tol" if matcher == "points3d" else f"tol_{pixel_tol:g}")
    if matcher == "descriptors":
        parts += ["c2f"] if coarse_to_fine else []
        parts += [str(max_image_size)] if max_image_size is not None else []
        parts += ["with_homography"] if coarse_to_fine and homography else []
    parts.append(f"conf_{float(confidence_threshold)}")
    if reprojection_error_diag_ratio is not None:
        parts.append(f"reproj_diag_{float(reprojection_error_diag_ratio)}")
    else:
        parts.append(f"reproj_err_{float(reprojection_error)}")
    return "_".join(parts)
