"""Metrics as plain dot products, so that every backend maximises one thing."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Metric = Literal["dot", "l2"]
Precision = Literal["fp32", "bf16"]


def fold_metric(
    queries: Float[Tensor, "queries dim"], database: Float[Tensor, "database dim"], metric: Metric
) -> tuple[Float[Tensor, "queries folded"], Float[Tensor, "database folded"]]:
    """Descriptors whose dot product orders pairs as the metric does.

    For ``l2`` two columns are added, so that the product is minus half the squared distance. In float32
    this is off by about 1e-7 of the squared norms: distances under 5e-4 between unit vectors are noise.
    """
    if metric == "dot":
        return queries, database
    query_norms = queries.square().sum(1, keepdim=True) / -2
    database_norms = database.square().sum(1, keepdim=True) / -2
    return (
        torch.cat([queries, torch.ones_like(query_norms), query_norms], 1),
        torch.cat([database, database_norms, torch.ones_like(database_norms)], 1),
    )


def metric_score(folded: Float[Tensor, " n"], metric: Metric) -> Float[Tensor, " n"]:
    """The score in the metric's own unit: the dot product, or minus the Euclidean distance."""
    return folded if metric == "dot" else -(-2 * folded).clamp_(min=0).sqrt_()


def round_to(descriptors: Tensor, precision: Precision) -> Float[Tensor, "n dim"]:
    """Contiguous float32 descriptors, rounded to bf16 values first where asked."""
    descriptors = descriptors.detach()
    if precision == "bf16":
        descriptors = descriptors.to(torch.bfloat16)
    return descriptors.float().contiguous()
