"""Training of MASt3R and DUSt3R: datasets, losses, the training loop and synthetic scenes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mast3r_train.config import TrainConfig as TrainConfig
    from mast3r_train.datasets.synthetic import SyntheticScenes as SyntheticScenes
    from mast3r_train.loop.training import train as train

_HOMES = {
    "SyntheticScenes": "mast3r_train.datasets.synthetic",
    "TrainConfig": "mast3r_train.config",
    "train": "mast3r_train.loop.training",
}

__all__ = ["SyntheticScenes", "TrainConfig", "train"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
