"""Losses on the descriptors (or points) at true correspondences (spec 40 sections 8.8 and 8.9)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mast3r_model import ConfigError, InputError
from mast3r_train.losses.base import Batch, Details, Loss, MatchingCriterion, float_detail, unknown_choice
from mast3r_train.losses.confidence import confidence_weighted


@dataclass(frozen=True)
class MatchInputs:
    """What a criterion compares: matches of a batch (or of its blocks, each of which is a batch element).

    Attributes:
        desc1: Descriptors of view 1 at the matches (batch, matches, dim), float32.
        desc2: Descriptors of view 2, negatives appended (batch, matches + negatives, dim).
        valid: Which matches are true (batch, matches).
        confidence1: Confidence at the matches (batch, matches), if asked for.
        confidence2: The same in view 2.
    """

    desc1: Float[Tensor, "batch matches dim"]
    desc2: Float[Tensor, "batch candidates dim"]
    valid: Bool[Tensor, "batch matches"]
    confidence1: Float[Tensor, "batch matches"] | None
    confidence2: Float[Tensor, "batch matches"] | None


@dataclass(frozen=True, repr=False)
class MatchingLoss(Loss):
    """A matching criterion at the ground truth's correspondences.

    Attributes:
        criterion: `InfoNCE` or `APLoss`.
        withconf: Report the spread of the confidences at the matches.
        use_pts3d: Compare the 3D points by distance, and not the descriptors.
        negatives_padding: Extra pixels of view 2 per image that are no match, as candidates.
        blocksize: More matches than this are shuffled and compared within blocks of this size only, which
            bounds memory. It must divide the number of matches then.
    """

    criterion: MatchingCriterion
    withconf: bool = False
    use_pts3d: bool = False
    negatives_padding: int = 0
    blocksize: int = 4096

    def __post_init__(self) -> None:
        if not isinstance(self.criterion, MatchingCriterion):
            raise ConfigError(f"MatchingLoss needs InfoNCE or APLoss, got {self.criterion!r}")
        if self.negatives_padding < 0 or self.blocksize < 1:
            raise ConfigError(
                "MatchingLoss needs negatives_padding >= 0 and blocksize >= 1, "
                f"got {self.negatives_padding} and {self.blocksize}"
            )

    def inputs(
        self,
        gt1: Batch,
        gt2: Batch,
        pred1: Batch,
        pred2: Batch,
        *,
        permutation: Int[Tensor, "batch matches"] | None = None,
        generator: torch.Generator | None = None,
        with_confidence: bool = True,
    ) -> MatchInputs:
        """Gather descriptors and confidences at the correspondences, cut into blocks if need be.

        Args:
            gt1: View 1 with ``corres`` (batch, matches, 2) as (x, y) and ``valid_corres`` (batch, matches).
            gt2: View 2 with ``corres``.
            pred1: Prediction with ``desc`` (batch, height, width, dim).
            pred2: The same for view 2.
            permutation: Order of the matches before they are cut into blocks; random if not given.
            generator: CPU generator that draws it; torch's global one if not given.
            with_confidence: Also gather the confidences.

        Raises:
            InputError: No correspondences, or numbers that do not fit the image or the blocks.
        """
        if "valid_corres" not in gt1 or gt1["corres"].shape[1] == 0:
            raise InputError(
                "this batch has no correspondences",
                hint="give the training dataset n_corres=8192 or the like",
            )
        corres1, corres2 = gt1["corres"], gt2["corres"]
        key1, key2, confidence = ("desc", "desc", "desc_conf")
        if self.use_pts3d:
            key1, key2, confidence = ("pts3d", "pts3d_in_other_view", "conf")
        found = MatchInputs(
            desc1=_at(pred1[key1].float(), corres1),
            desc2=_at(pred2[key2].float(), corres2),
            valid=gt1["valid_corres"],
            confidence1=_at(pred1[confidence].float(), corres1) if with_confidence else None,
            confidence2=_at(pred2[confidence].float(), corres2) if with_confidence else None,
        )
        matches = corres1.shape[1]
        if matches > self.blocksize:
            if permutation is None:
                permutation = _random_permutation(len(corres1), matches, generator)
            found = _in_blocks(found, permutation.to(corres1.device), self.blocksize)
        if self.negatives_padding:
            negatives = _negatives(pred2[key2].float(), corres2, self.negatives_padding)
            negatives = negatives.repeat_interleave(len(found.desc2) // len(negatives), dim=0)
            found = dataclasses.replace(found, desc2=torch.cat((found.desc2, negatives), dim=1))
        return found

    def match_losses(self, inputs: MatchInputs) -> Float[Tensor, " valid_matches"]:
        """The criterion's number for each valid match, in the order of ``inputs.valid``."""
        return self.criterion.losses(inputs.desc1, inputs.desc2, inputs.valid, euclidean=self.use_pts3d)

    def compute_loss(
        self,
        gt1: Batch,
        gt2: Batch,
        pred1: Batch,
        pred2: Batch,
        *,
        permutation: Int[Tensor, "batch matches"] | None = None,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> tuple[Tensor, Details]:
        """Compute the loss; ``permutation`` and ``generator`` order the matches of blocks, see `inputs`."""
        inputs = self.inputs(
            gt1,
            gt2,
            pred1,
            pred2,
            permutation=permutation,
            generator=generator,
            with_confidence=self.withconf,
        )
        losses = self.match_losses(inputs)
        value = self.criterion.reduce(losses)
        return value, {**_confidence_details(inputs), **_matching_details(losses, float_detail(value.mean()))}


@dataclass(frozen=True, repr=False)
class ConfMatchingLoss(Loss):
    """A matching loss weighed by the descriptors' confidence: mean of ``loss * conf - alpha * log(conf)``.

    Attributes:
        matching_loss: The loss per match.
        alpha: How much confidence is worth.
        confmode: A match's confidence is the product (``"prod"``) or the mean (``"mean"``) of its pixels'.
        neg_conf_loss_quantile: If a number q: invalid matches get the q-quantile of the valid ones' losses,
            which lowers the confidence of their pixels.
    """

    matching_loss: MatchingLoss
    alpha: float = 1.0
    confmode: Literal["prod", "mean"] = "prod"
    neg_conf_loss_quantile: float | Literal[False] = False

    def __post_init__(self) -> None:
        if not isinstance(self.matching_loss, MatchingLoss):
            raise ConfigError(
                f"ConfMatchingLoss needs a MatchingLoss, got {self.matching_loss!r}",
                hint="weigh the ConfMatchingLoss and not what is inside",
            )
        if self.alpha <= 0:
            raise ConfigError(f"ConfMatchingLoss needs alpha > 0, got {self.alpha}")
        if self.confmode not in ("prod", "mean"):
            raise unknown_choice("confmode", self.confmode, ("prod", "mean"))
        if self.neg_conf_loss_quantile and not 0 < self.neg_conf_loss_quantile <= 1:
            raise ConfigError(f"neg_conf_loss_quantile is {self.neg_conf_loss_quantile}, expected 0 to 1")

    def compute_loss(
        self,
        gt1: Batch,
        gt2: Batch,
        pred1: Batch,
        pred2: Batch,
        *,
        permutation: Int[Tensor, "batch matches"] | None = None,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> tuple[Tensor, Details]:
        """Compute the loss; predictions carry ``desc_conf`` (batch, height, width) > 0."""
        inputs = self.matching_loss.inputs(
            gt1, gt2, pred1, pred2, permutation=permutation, generator=generator
        )
        confidence1, confidence2 = inputs.confidence1, inputs.confidence2
        assert confidence1 is not None
        assert confidence2 is not None
        losses = self.matching_loss.match_losses(inputs)
        product = self.confmode == "prod"
        confidence = confidence1 * confidence2 if product else (confidence1 + confidence2) / 2
        value = confidence_weighted(losses, confidence[inputs.valid], self.alpha)
        if self.neg_conf_loss_quantile and losses.numel():
            worst = torch.quantile(losses.detach(), self.neg_conf_loss_quantile)
            negatives = torch.cat((confidence1[~inputs.valid], confidence2[~inputs.valid]))
            value = value + confidence_weighted(worst, negatives, self.alpha)
        mean = float_detail(losses.mean()) if losses.numel() else 0.0
        return value, {
            "matching_conf_loss": float_detail(value),
            **_confidence_details(inputs),
            **_matching_details(losses, mean),
        }


def _at(
    maps: Float[Tensor, "batch height width *channels"], xy: Int[Tensor, "batch matches 2"]
) -> Float[Tensor, "batch matches *channels"]:
    """Values of the maps at pixels (x, y)."""
    batch = torch.arange(len(maps), device=maps.device)[:, None]
    return maps[batch, xy[..., 1], xy[..., 0]]


def _negatives(
    desc: Float[Tensor, "batch height width dim"], corres: Int[Tensor, "batch matches 2"], count: int
) -> Float[Tensor, "batch count dim"]:
    """The first ``count`` pixels of each image, row by row, that are in no correspondence."""
    batch, height, width, _ = desc.shape
    if corres.shape[1] + count > height * width:
        raise InputError(
            f"{corres.shape[1]} correspondences and negatives_padding={count} exceed the "
            f"{height} x {width} = {height * width} pixels of an image"
        )
    used = torch.zeros(batch, height * width, dtype=torch.uint8, device=desc.device)
    used.scatter_(1, corres[..., 0] + width * corres[..., 1], 1)
    free = used.argsort(dim=1, stable=True)[:, :count]
    return desc.flatten(1, 2).gather(1, free[..., None].expand(-1, -1, desc.shape[-1]))


def _random_permutation(batch: int, matches: int, generator: torch.Generator | None) -> Tensor:
    return torch.stack([torch.randperm(matches, generator=generator) for _ in range(batch)])


def _in_blocks(inputs: MatchInputs, permutation: Tensor, blocksize: int) -> MatchInputs:
    """Matches in permuted order, ``blocksize`` of them per batch element."""
    batch, matches = inputs.valid.shape
    if matches % blocksize:
        raise InputError(
            f"blocksize={blocksize} does not divide the {matches} correspondences of a pair",
            hint="change blocksize, or n_corres of the dataset",
        )
    rows = torch.arange(batch, device=permutation.device)[:, None]

    def cut(values: Tensor) -> Tensor:
        return values[rows, permutation].reshape(-1, blocksize, *values.shape[2:])

    return MatchInputs(
        desc1=cut(inputs.desc1),
        desc2=cut(inputs.desc2),
        valid=cut(inputs.valid),
        confidence1=None if inputs.confidence1 is None else cut(inputs.confidence1),
        confidence2=None if inputs.confidence2 is None else cut(inputs.confidence2),
    )


def _confidence_details(inputs: MatchInputs) -> Details:
    if inputs.confidence1 is None or inputs.confidence2 is None:
        return {}
    return {
        "Conf1_std": float_detail(inputs.confidence1.std()),
        "Conf2_std": float_detail(inputs.confidence2.std()),
    }


def _matching_details(losses: Tensor, mean: Tensor | float) -> Details:
    details: Details = {"MatchingLoss": mean}
    if losses.numel() == 0:
        details["MatchingLoss_empty"] = 1.0
    return details
