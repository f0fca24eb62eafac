"""How a scene is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mast3r_model import InputError

from .predictions import PredictionOptions
from .scale import KnownDistance
from .sparse import AlignOptions, Solver

Mapper: TypeAlias = Literal["sparse", "dense", "colmap", "glomap"]
"""``sparse``: alignment of matches and canonical depth (spec 30 section 6); ``dense``: DUSt3R's alignment of
all pointmaps (section 9); ``colmap``, ``glomap``: COLMAP's incremental or global mapper (section 11)."""

Refine: TypeAlias = Literal["auto", "ba", "none"]
"""``auto``: a bundle adjustment of poses and tracks follows, kept only if tracks held out of it fit better;
``ba``: one of focal lengths too, kept in any case."""


@dataclass(frozen=True, kw_only=True)
class DenseMapping:
    """How the dense mapper works.

    Attributes:
        iterations: of Adam.
        lr: its first step.
        schedule: how the step falls: ``linear`` (DUSt3R's demo) or ``cosine``.
        memory_bytes: what the pointmaps of all pairs may take; more pairs are sampled more thinly.
    """

    iterations: int = 300
    lr: float = 0.01
    schedule: Literal["cosine", "linear"] = "linear"
    memory_bytes: int = 4 << 30


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """How a scene is made.

    Attributes:
        graph: which photos meet, see `graph_pairs`; not used where pairs are given.
        retriever: who says which photos look alike, where the graph asks: see `mast3r_match.make_retriever`.
        mapper: how cameras are found.
        solver: of the sparse alignment: ``lm``, or ``adam`` for upstream's schedule.
        align: options of that solver.
        dense: of the dense mapper.
        refine: whether a bundle adjustment follows.
        prediction: how pairs are predicted, matched and kept.
        engine: who computes the predictions: a name of ``registry("engines")``.
        verify: leave out pairs whose matches do not agree with one epipolar geometry: photos of other places.
        matching_confidence: pairs whose best match is not above this do not count as matched; the network's
            points hold them together instead.
        shared_intrinsics: all photos are from one camera with one zoom.
        clean_depth: confidence 0 for points in front of what other photos see more surely.
        min_confidence: of the points of the cloud (canonical confidence, about 1 less than the network's);
            None: see `automatic_confidence`.
        known_distance: fixes the scale of the group that it lies in; else the network's metres do.
    """

    graph: str = "auto"
    retriever: str = "encoder"
    mapper: Mapper = "sparse"
    solver: Solver = "lm"
    align: AlignOptions | None = None
    dense: DenseMapping = field(default_factory=DenseMapping)
    refine: Refine = "auto"
    prediction: PredictionOptions = field(default_factory=PredictionOptions)
    engine: str = "local"
    verify: bool = True
    matching_confidence: float = 0.0
    shared_intrinsics: bool = False
    clean_depth: bool = True
    min_confidence: float | None = None
    known_distance: KnownDistance | None = None

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            InputError: one is unknown.
        """
        for name, value, choices in (
            ("mapper", self.mapper, ("sparse", "dense", "colmap", "glomap")),
            ("refine", self.refine, ("auto", "ba", "none")),
        ):
            if value not in choices:
                raise InputError(f"{name} is {value!r}", f"expected one of {', '.join(choices)}")
