"""Upstream's pipeline to the number, for ``--parity`` (spec 50 A).

Names are imported on first use (PEP 562): options are needed where torch is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from .map_matches import MapMatches as MapMatches
    from .network import PairNetwork as PairNetwork
    from .options import ReferenceMatcher as ReferenceMatcher
    from .options import ReferenceOptions as ReferenceOptions
    from .pipeline import MatchesSink as MatchesSink
    from .pipeline import ReferencePipeline as ReferencePipeline
    from .views import ReferenceView as ReferenceView
    from .views import iterate_reference_views as iterate_reference_views
    from .views import reference_views as reference_views

_MODULE_OF = {
    "MapMatches": "map_matches",
    "MatchesSink": "pipeline",
    "PairNetwork": "network",
    "ReferenceMatcher": "options",
    "ReferenceOptions": "options",
    "ReferencePipeline": "pipeline",
    "ReferenceView": "views",
    "iterate_reference_views": "views",
    "reference_views": "views",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
