"""The datasets of the goldens, opened as their configurations say."""

from __future__ import annotations

from pathlib import Path

from mast3r_visloc.datasets import (
    VislocAachenDayNight,
    VislocCambridgeLandmarks,
    VislocDataset,
    VislocInLoc,
    VislocSevenScenes,
)

AACHEN = "Aachen-Day-Night-v1.1"
CONFIGS = (
    "aachen_all@512",
    "aachen_day@512",
    "aachen_night@512",
    "cambridge@512",
    "sevenscenes@512",
    "inloc_hlocpairs@512",
    "inloc_kapturepairs@512",
    "aachen_all@224",
    "sevenscenes@224",
    "inloc_hlocpairs@224",
)


def open_config(goldens: Path, config: str, topk: int) -> VislocDataset:
    """The dataset of one configuration of the goldens, by the arguments' positions, as upstream's."""
    root, kind = goldens / "datasets", config.split("@")[0]
    if kind.startswith("aachen_"):
        return VislocAachenDayNight(root / AACHEN, kind.removeprefix("aachen_"), "fire_top50", topk, False)
    if kind == "cambridge":
        return VislocCambridgeLandmarks(
            root / "Cambridge_Landmarks", "ShopFacade", "AP-GeM-LM18_top50", topk, False
        )
    if kind == "sevenscenes":
        return VislocSevenScenes(root / "7-scenes", "chess", "APGeM-LM18_top20", topk)
    pairs = {"inloc_hlocpairs": "pairs-query-netvlad40-temporal", "inloc_kapturepairs": "kapture_pairs"}
    return VislocInLoc(root / "InLoc", pairs[kind], topk)
