"""What the network says about pairs of images, computed once and kept (spec 30 section 3)."""

from .cache import PredictionCache
from .encode import encode_images
from .forecast import Forecast, forecast
from .options import PredictionOptions
from .predict import PredictedPairs, predict_pairs
from .records import TwoViewPrediction
from .worker import PredictionWorker

__all__ = [
    "Forecast",
    "PredictedPairs",
    "PredictionCache",
    "PredictionOptions",
    "PredictionWorker",
    "TwoViewPrediction",
    "encode_images",
    "forecast",
    "predict_pairs",
]
