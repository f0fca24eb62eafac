"""Which images meet, upstream's signature (spec 10 S10.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mast3r_model.errors import InputError
from mast3r_model.view_dicts import View


def make_pairs(
    images: Sequence[View],
    scene_graph: str = "complete",
    prefilter: str | None = None,
    symmetrize: bool = True,
) -> list[tuple[View, View]]:
    """Pair every image with every earlier one: (1,0), (2,0), (2,1), ...

    Args:
        images: views as of `load_images`.
        scene_graph: only "complete" here.
        prefilter: only None here.
        symmetrize: append all pairs swapped, after the whole list.

    Returns:
        Pairs of the given views (not copied).

    Raises:
        InputError: another graph or prefilter.
    """
    if scene_graph != "complete" or prefilter is not None:
        raise InputError(
            "make_pairs knows scene_graph='complete' without prefilter only, "
            f"got scene_graph={scene_graph!r}, prefilter={prefilter!r}",
            hint="any list of (view, view) will do in place of this function's",
        )
    pairs = [(images[i], images[j]) for i in range(len(images)) for j in range(i)]
    if symmetrize:
        pairs += [(second, first) for first, second in pairs]
    return pairs
