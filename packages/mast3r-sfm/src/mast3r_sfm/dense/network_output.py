"""Upstream's dictionaries of a network's output over many pairs, read for the dense alignment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from .problem import EdgePrediction


def edges_of_output(output: Mapping[str, Any]) -> Iterator[EdgePrediction]:
    """Every entry of what `mast3r_model.inference` returns, as a directed edge."""
    view1, view2, pred1, pred2 = (output[key] for key in ("view1", "view2", "pred1", "pred2"))
    rows = zip(
        view1["idx"],
        view2["idx"],
        pred1["pts3d"],
        pred1["conf"],
        pred2["pts3d_in_other_view"],
        pred2["conf"],
        strict=True,
    )
    for i, j, pts3d_i, conf_i, pts3d_j, conf_j in rows:
        yield EdgePrediction(int(i), int(j), pts3d_i, conf_i, pts3d_j, conf_j)


def images_of_output(output: Mapping[str, Any], count: int) -> list[Float[np.ndarray, "h w 3"]] | None:
    """RGB in [0, 1] of every image, or None if the views hold none."""
    found: dict[int, Float[np.ndarray, "h w 3"]] = {}
    for view in (output["view1"], output["view2"]):
        for number, image in zip(view["idx"], view.get("img", ()), strict=False):
            if int(number) not in found:
                found[int(number)] = (0.5 * image.float() + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return [found[number] for number in range(count)] if len(found) == count else None
