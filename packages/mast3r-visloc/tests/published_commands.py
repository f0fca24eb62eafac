"""Upstream's published localisation commands (spec 50 A1), as they are typed after ``mast3r visloc evaluate``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import Any

MAST3R = "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric"
DUST3R = "DUSt3R_ViTLarge_BaseDecoder_512_dpt"
MODEL = f"--model_name {MAST3R}"
SETTINGS = "--pixel_tol 5 --pnp_mode poselib --reprojection_error_diag_ratio 0.008"
FINE = "--coarse_to_fine --max_batch_size 48 --c2f_crop_with_homography"

AACHEN = "VislocAachenDayNight('/path/Aachen-Day-Night-v1.1', subscene='{}', pairsfile='fire_top50', topk=20)"
CAMBRIDGE = (
    "VislocCambridgeLandmarks('/path/Cambridge_Landmarks', subscene='{}', "
    "pairsfile='AP-GeM-LM18_top50', topk=20)"
)
SEVEN_SCENES = "VislocSevenScenes('/path/7-scenes', subscene='{}', pairsfile='APGeM-LM18_top20', topk=1)"
INLOC = "VislocInLoc('/path/InLoc', pairsfile='pairs-query-netvlad40-temporal', topk=20)"


@dataclass(frozen=True)
class Published:
    """A command line and what it means.

    Attributes:
        line: its words; ``/path`` stands for the folder of the data, ``/out`` for that of the results.
        label: of its result files.
        fields: of `ReferenceOptions`, that differ from upstream's defaults.
        queries: that the goldens' small dataset of this name has; None where the goldens lack the scene.
        dies: what upstream's way cannot do with the goldens' photos, as its error says.
    """

    line: str
    label: str
    fields: dict[str, Any] = field(default_factory=dict)
    queries: int | None = None
    dies: str | None = None

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)

    @property
    def expression(self) -> str:
        return self.words[self.words.index("--dataset") + 1]


PLAIN: dict[str, Any] = {"pnp_mode": "poselib", "reprojection_error_diag_ratio": 0.008}
WINDOWS: dict[str, Any] = {**PLAIN, "coarse_to_fine": True, "c2f_crop_with_homography": True}


def _pair(
    dataset: str, queries: int | None, fine_flags: str = "", fine_size: int | None = None
) -> list[Published]:
    """The published command of a dataset, and its coarse-to-fine form."""
    start = f'{MODEL} --dataset "{dataset}" {SETTINGS}'
    end = "--output_dir /out --output_label lbl"
    size = "" if fine_size is None else f"_{fine_size}"
    return [
        Published(f"{start} {end}", "lbl_tol_5_conf_1.001_reproj_diag_0.008", PLAIN, queries),
        Published(
            f"{start} {FINE} {fine_flags} {end}",
            f"lbl_tol_5_c2f{size}_with_homography_conf_1.001_reproj_diag_0.008",
            WINDOWS if fine_size is None else {**WINDOWS, "max_image_size": fine_size},
            queries,
        ),
    ]


def _points(dataset: str, queries: int | None, more: str = "", label: str = "") -> Published:
    """The script of plain DUSt3R: ours needs two words more."""
    return Published(
        f'--model_name {DUST3R} --dataset "{dataset}" --pnp_mode poselib --reprojection_error_diag_ratio 0.008 '
        f"{more} --output_dir /out --parity --matcher points3d",
        f"{label}tol_conf_3.0_reproj_diag_0.008",
        {**PLAIN, "matcher": "points3d"},
        queries,
    )


PUBLISHED: dict[str, Published] = {}
for name, found in {
    "aachen_day": _pair(AACHEN.format("day"), 2),
    "aachen_night": _pair(AACHEN.format("night"), 1),
    "aachen_all": _pair(AACHEN.format("all"), 3),
    "inloc": _pair(INLOC, 2, "--max_image_size 1200", 1200),
    **{
        f"cambridge_{scene}": _pair(CAMBRIDGE.format(scene), queries)
        for scene, queries in {
            "ShopFacade": 2,
            "KingsCollege": 2,
            "GreatCourt": None,
            "OldHospital": None,
            "StMarysChurch": None,
        }.items()
    },
    **{
        f"7scenes_{scene}": _pair(SEVEN_SCENES.format(scene), 2 if scene == "chess" else None)
        for scene in ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
    },
}.items():
    PUBLISHED[name], PUBLISHED[f"{name}_fine"] = found
for name in ("aachen_day_fine", "aachen_night_fine", "aachen_all_fine", "cambridge_ShopFacade_fine"):
    # Spec 50, trap 9: the goldens have photos that are smaller than upstream's windows.
    PUBLISHED[name] = replace(PUBLISHED[name], dies="needs photos that hold a window of 224 pixels")
for name, dataset in {
    "aachen_all": AACHEN.format("all"),
    "inloc": INLOC,
    "cambridge_ShopFacade": CAMBRIDGE.format("ShopFacade"),
    "7scenes_chess": SEVEN_SCENES.format("chess"),
}.items():
    PUBLISHED[f"{name}_dust3r"] = _points(dataset, PUBLISHED[name].queries)
