"""What every loss is: an immutable object with arithmetic, called on a symmetrised batch (spec 40 8.1)."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import ConfigError

Batch = Mapping[str, Any]
"""A view or a prediction: upstream's dictionary, tensors batched on dimension 0 (spec 40 2 and 7)."""

Details = dict[str, "Tensor | float"]
"""What a loss reports beside its value: log column -> 0-d tensor (detached) or float."""

Reduction = Literal["none", "mean", "sum"]

PixelLosses = tuple[
    tuple[Float[Tensor, "pixels1"], Bool[Tensor, "batch height width"]],
    tuple[Float[Tensor, "pixels2"], Bool[Tensor, "batch height width"]],
]
"""Unreduced losses of view 1 and of view 2, each with the mask of the pixels that they belong to."""


class Loss(ABC):
    """A loss on a pair of views.

    ``loss(gt1, gt2, pred1, pred2)`` gives ``(value, details)``. Losses are immutable and follow arithmetic:
    ``2 * a``, ``a * 2``, ``-a``, ``a + b`` are new losses whose value is what the formula says.

    A subclass writes :meth:`compute_loss`; it may return the scalar value alone, which is then reported under
    the loss's ``repr``. Computation is in float32, whatever autocast surrounds the call.
    """

    @abstractmethod
    def compute_loss(self, gt1: Batch, gt2: Batch, pred1: Batch, pred2: Batch, **options: Any) -> Any:
        """Compute the value, or ``(value, details)``; see the class."""

    def __call__(
        self, gt1: Batch, gt2: Batch, pred1: Batch, pred2: Batch, **options: Any
    ) -> tuple[Any, Details]:
        """Compute value and details.

        Args:
            gt1: View 1 of the symmetrised batch.
            gt2: View 2.
            pred1: Prediction for view 1.
            pred2: Prediction for view 2, its points in the frame of camera 1.
            **options: What single losses understand (``dist_clip``, ``permutation``, ``generator``).

        Returns:
            The scalar value and the details.
        """
        device = next(v.device.type for v in (*pred1.values(), *pred2.values()) if isinstance(v, Tensor))
        with torch.autocast(device_type=device, enabled=False):
            result = self.compute_loss(gt1, gt2, pred1, pred2, **options)
        if isinstance(result, tuple):
            return result
        return result, {repr(self): float_detail(result)}

    def __mul__(self, weight: object) -> WeightedSum:
        if not isinstance(weight, (int, float)):
            return NotImplemented
        return WeightedSum(tuple((float(weight) * w, loss) for w, loss in _terms(self)))

    __rmul__ = __mul__

    def __add__(self, other: object) -> WeightedSum:
        if not isinstance(other, Loss):
            return NotImplemented
        return WeightedSum(_terms(self) + _terms(other))

    def __neg__(self) -> WeightedSum:
        return self * -1.0

    def __pos__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return expression_text(self)


class PixelLoss(Loss):
    """A loss with one number per pixel, which :class:`~mast3r_train.losses.ConfLoss` can weigh."""

    @abstractmethod
    def with_reduction(self, reduction: Reduction) -> PixelLoss:
        """A copy with another reduction; with ``"none"``, ``compute_loss`` returns `PixelLosses`, details."""


@dataclass(frozen=True, repr=False)
class WeightedSum(Loss):
    """``w1 * loss1 + w2 * loss2 + ...``; details are united in order, a later term wins on equal keys."""

    terms: tuple[tuple[float, Loss], ...]

    def compute_loss(
        self, gt1: Batch, gt2: Batch, pred1: Batch, pred2: Batch, **options: Any
    ) -> tuple[Any, Details]:
        total: Any = 0.0
        details: Details = {}
        for weight, loss in self.terms:
            value, term_details = loss(gt1, gt2, pred1, pred2, **options)
            total = total + weight * value
            details.update(term_details)
        return total, details

    def __repr__(self) -> str:
        return " + ".join(repr(loss) if w == 1 else f"{w:g}*{loss!r}" for w, loss in self.terms)


@dataclass(frozen=True, repr=False)
class MatchingCriterion(ABC):
    """Scores true matches against all others: descriptors of N matches -> one number per valid match."""

    reduction: str = dataclasses.field(default="mean", kw_only=True)

    @abstractmethod
    def losses(
        self,
        desc1: Float[Tensor, "batch matches dim"],
        desc2: Float[Tensor, "batch candidates dim"],
        valid: Bool[Tensor, "batch matches"],
        *,
        euclidean: bool = False,
    ) -> Float[Tensor, " valid_matches"]:
        """Number per valid match, flattened in batch order.

        Args:
            desc1: Descriptors in view 1.
            desc2: Descriptors in view 2; row i matches row i of ``desc1``, rows past N are negatives.
            valid: Which matches are true ones; the others count as negatives only.
            euclidean: Similarity by distance (points) and not by dot product (unit descriptors).
        """

    def reduce(self, losses: Float[Tensor, " valid_matches"]) -> Tensor:
        """Apply ``reduction``; the mean of nothing is 0, attached to the graph."""
        return reduce_losses(losses, self.reduction)

    def __call__(
        self,
        desc1: Float[Tensor, "batch matches dim"],
        desc2: Float[Tensor, "batch candidates dim"],
        valid: Bool[Tensor, "batch matches"] | None = None,
        *,
        euclidean: bool = False,
    ) -> Tensor:
        """Reduced losses; all matches are valid if ``valid`` is not given."""
        if valid is None:
            valid = torch.ones(desc1.shape[:2], dtype=torch.bool, device=desc1.device)
        return self.reduce(self.losses(desc1, desc2, valid, euclidean=euclidean))

    def __repr__(self) -> str:
        return expression_text(self)


def reduce_losses(losses: Float[Tensor, " items"], reduction: str) -> Tensor:
    """Reduce by ``none``, ``mean`` or ``sum``; the mean of an empty set is 0 and keeps the graph."""
    match reduction:
        case "none":
            return losses
        case "sum":
            return losses.sum()
        case "mean":
            return losses.mean() if losses.numel() else losses.sum()
        case _:
            raise unknown_choice("reduction", reduction, ("none", "mean", "sum"))


def pixels_of(mask: Bool[Tensor, "batch height width"]) -> Int[Tensor, " pixels"]:
    """Numbers of the mask's pixels, for `select`."""
    return mask.flatten().nonzero()[:, 0]


def select(
    maps: Float[Tensor, "batch height width *channels"], pixels: Int[Tensor, " pixels"]
) -> Float[Tensor, " pixels *channels"]:
    """Values at pixels; what ``maps[mask]`` gives, at half its price forward and backward."""
    return maps.flatten(0, 2).index_select(0, pixels)


def unknown_choice(what: str, given: object, choices: tuple[str, ...]) -> ConfigError:
    """The error for an option outside its choices."""
    return ConfigError(f"{what} {given!r} is unknown", hint=f"choose one of {', '.join(map(repr, choices))}")


def float_detail(value: Tensor | float) -> Tensor | float:
    """A value for the log: detached, on its device, so that reporting does not wait for the GPU."""
    return value.detach() if isinstance(value, Tensor) else float(value)


def expression_text(instance: Any) -> str:
    """The expression that builds a dataclass instance; options at their default are left out."""
    arguments = []
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if field.default is dataclasses.MISSING:
            arguments.append(repr(value))
        elif value != field.default:
            arguments.append(f"{field.name}={value!r}")
    return f"{type(instance).__name__}({', '.join(arguments)})"


def _terms(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),)
