"""The four benchmarks' releases into the folders that their dataset classes read (spec 50 D8).

Names are imported on first use (PEP 562): the processes that register depth need little of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .contract import BenchmarkName as BenchmarkName
    from .contract import CandidateFinder as CandidateFinder
    from .contract import CandidateRequest as CandidateRequest
    from .contract import PairMatcher as PairMatcher
    from .contract import Points as Points
    from .contract import PreparationReport as PreparationReport
    from .contract import PreparationRequest as PreparationRequest
    from .prepare import prepare as prepare

_MODULE_OF = {
    "BenchmarkName": "contract",
    "CandidateFinder": "contract",
    "CandidateRequest": "contract",
    "PairMatcher": "contract",
    "Points": "contract",
    "PreparationReport": "contract",
    "PreparationRequest": "contract",
    "prepare": "prepare",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
