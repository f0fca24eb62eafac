"""Search through scipy's k-d tree: Euclidean, float64; for low dimensions, and for parity (spec 20 S3.2)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .refine import BestRows

if TYPE_CHECKING:
    from scipy.spatial import KDTree


class KDTreeIndex:
    """A database that is indexed on first use."""

    def __init__(self, database: Float[Tensor, "database dim"], *, workers: int = 1) -> None:
        self._points = database.detach().cpu().numpy()
        self._workers = workers

    @cached_property
    def _tree(self) -> KDTree:
        from scipy.spatial import KDTree  # half a second that most searches do not need

        return KDTree(self._points)

    def query(self, queries: Float[Tensor, "queries dim"]) -> BestRows:
        """Index and score (minus the distance) of the nearest entry of every query, on the CPU."""
        if not len(queries):
            return BestRows(torch.empty(0, dtype=torch.int64), torch.empty(0))
        distance, index = self._tree.query(queries.detach().cpu().numpy(), workers=self._workers)
        score = -torch.from_numpy(np.asarray(distance)).float()
        return BestRows(torch.from_numpy(np.asarray(index, dtype=np.int64)), score)
