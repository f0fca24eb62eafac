"""Training of MASt3R and DUSt3R: datasets, losses, the training loop and synthetic scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mast3r_model import lazy_names

if TYPE_CHECKING:
    from mast3r_train.config import TrainConfig as TrainConfig
    from mast3r_train.datasets.algebra import DatasetAlgebra as DatasetAlgebra
    from mast3r_train.datasets.synthetic import SyntheticScenes as SyntheticScenes
    from mast3r_train.errors import SampleError as SampleError
    from mast3r_train.loop.training import TrainingResult as TrainingResult
    from mast3r_train.loop.training import train as train
    from mast3r_train.views import PairDataset as PairDataset

_MODULE_OF = {
    "DatasetAlgebra": "datasets.algebra",
    "PairDataset": "views",
    "SampleError": "errors",
    "SyntheticScenes": "datasets.synthetic",
    "TrainConfig": "config",
    "TrainingResult": "loop.training",
    "train": "loop.training",
}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
