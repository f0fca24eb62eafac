"""From a dataset's files to training pairs: the pair pipeline (spec 40 sections 2 and 4)."""

from .contract import check_loaded_view, check_view
from .pair_dataset import PairDataset

__all__ = ["PairDataset", "check_loaded_view", "check_view"]
