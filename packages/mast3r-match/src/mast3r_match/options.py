"""How a pair is matched: one set of options for functions and commands."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypedDict, get_args

from mast3r_model import InputError, nearest_names

from .nearest import BackendName, Metric, Precision

_CHOICES = (
    ("metric", get_args(Metric)),
    ("precision", get_args(Precision)),
    ("backend", get_args(BackendName)),
)


@dataclass(frozen=True)
class MatchOptions:
    """How a pair is matched.

    Attributes:
        subsample: step of the grid of pixels that walks start from, in network pixels; 0 or 1 for all mutual
            nearest neighbours.
        pixel_tol: above 0, matches are seeds whose single round trip ends closer than this many pixels.
        border: matches closer than this to the border of a network image are dropped, in pixels.
        min_confidence: matches with a lower score are dropped.
        max_matches: keep at most so many, the best ones spread over the image; None keeps all.
        symmetric: decode the pair both ways and match both decodings: twice the work, more matches.
        metric: ``dot`` or ``l2``; maps without descriptors are matched by their points, always ``l2``.
        precision: ``bf16`` rounds descriptors to bfloat16.
        backend: who computes: ``auto``, ``dense``, ``fused``, ``kdtree``.
        threads: CPU threads of the matching; None for torch's own number.
    """

    subsample: int = 8
    pixel_tol: float = 0.0
    border: int = 3
    min_confidence: float = 0.0
    max_matches: int | None = None
    symmetric: bool = False
    metric: Metric = "dot"
    precision: Precision = "fp32"
    backend: BackendName = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing.

        Raises:
            InputError: a value outside its range.
        """
        for name in ("subsample", "pixel_tol", "border"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("max_matches", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1 or None, got {value}")
        for name, choices in _CHOICES:
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")


class MatchKeywords(TypedDict, total=False):
    """The fields of `MatchOptions` as keywords."""

    subsample: int
    pixel_tol: float
    border: int
    min_confidence: float
    max_matches: int | None
    symmetric: bool
    metric: Metric
    precision: Precision
    backend: BackendName
    threads: int | None


def match_options(options: MatchOptions | None, keywords: MatchKeywords) -> MatchOptions:
    """Options with some of them changed by keywords.

    Raises:
        InputError: an unknown keyword, or a value outside its range.
    """
    known = [field.name for field in dataclasses.fields(MatchOptions)]
    for name in keywords:
        if name not in known:
            near = nearest_names(name, known)
            raise InputError(
                f"unknown option {name!r}", f"did you mean {' or '.join(near)}?" if near else None
            )
    return dataclasses.replace(options or MatchOptions(), **keywords)
