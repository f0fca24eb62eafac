"""What a whole reconstruction will take, before it is begun."""

from .alignment import AlignmentForecast, forecast_alignment
from .outputs import forecast_outputs
from .rehearsal import RunForecast, rehearse

__all__ = [
    "AlignmentForecast",
    "RunForecast",
    "forecast_alignment",
    "forecast_outputs",
    "rehearse",
]
