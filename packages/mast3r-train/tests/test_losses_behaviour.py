"""What the losses promise beyond upstream's numbers: arithmetic, empty batches, errors, registration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_model import ConfigError, InputError, registry
from mast3r_train.losses import (
    L21,
    APLoss,
    ConfLoss,
    ConfMatchingLoss,
    InfoNCE,
    Loss,
    MatchingLoss,
    PointNormalization,
    Regr3D,
    Regr3D_ScaleInv,
    Regr3D_ScaleShiftInv,
    Regr3D_ShiftInv,
)
from mast3r_train.losses.normalization import joint_depth, joint_scale
from mast3r_train.losses.registration import LOSSES

Views = list[dict[str, torch.Tensor]]
BATCH, HEIGHT, WIDTH, MATCHES, DIM = 2, 6, 8, 12, 5


@pytest.fixture
def views() -> Views:
    """gt1, gt2, pred1, pred2 of random numbers."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(BATCH, *shape, generator=generator)

    def ground_truth() -> dict[str, torch.Tensor]:
        pixels = torch.stack(
            [torch.randperm(HEIGHT * WIDTH, generator=generator)[:MATCHES] for _ in range(BATCH)]
        )
        return {
            "pts3d": normal(HEIGHT, WIDTH, 3),
            "camera_pose": torch.eye(4).expand(BATCH, 4, 4),
            "valid_mask": normal(HEIGHT, WIDTH) > -1,
            "sky_mask": normal(HEIGHT, WIDTH) > 1,
            "is_metric_scale": torch.tensor([True, False]),
            "corres": torch.stack((pixels % WIDTH, pixels // WIDTH), dim=-1),
            "valid_corres": torch.arange(MATCHES).expand(BATCH, MATCHES) < 9,
        }

    def prediction(points: str) -> dict[str, torch.Tensor]:
        desc = torch.nn.functional.normalize(normal(HEIGHT, WIDTH, DIM), dim=-1)
        return {
            points: normal(HEIGHT, WIDTH, 3).requires_grad_(),
            "conf": (1 + normal(HEIGHT, WIDTH).exp()).requires_grad_(),
            "desc": desc.requires_grad_(),
            "desc_conf": normal(HEIGHT, WIDTH).exp().requires_grad_(),
        }

    return [ground_truth(), ground_truth(), prediction("pts3d"), prediction("pts3d_in_other_view")]


class Constant(Loss):
    """A loss that a plugin might write: a scalar, no details."""

    def __init__(self, value: float) -> None:
        self.value = value

    def compute_loss(self, gt1: Any, gt2: Any, pred1: Any, pred2: Any, **options: Any) -> torch.Tensor:
        return torch.tensor(self.value)

    def __repr__(self) -> str:
        return f"Constant({self.value})"


@settings(max_examples=30, deadline=None)
@given(*[st.floats(-100, 100)] * 3)
def test_arithmetic_is_mathematical(a: float, b: float, c: float) -> None:
    first, second = Constant(2.0), Constant(-3.0)
    empty: Any = {"pts3d": torch.zeros(1)}
    total = c * (a * first + second * b) + -first
    value, details = total(empty, empty, empty, empty)
    assert float(value) == pytest.approx(c * (a * 2 - b * 3) - 2, rel=1e-4, abs=1e-3)
    assert list(details) == ["Constant(2.0)", "Constant(-3.0)"]
    assert float(first(empty, empty, empty, empty)[0]) == 2.0


def test_repr_is_an_expression() -> None:
    loss = ConfLoss(Regr3D(L21, norm_mode="?avg_dis"), alpha=0.2) + 0.075 * MatchingLoss(
        APLoss(fp=torch.float16), negatives_padding=7
    )
    assert repr(loss) == (
        "ConfLoss(Regr3D(L21, norm_mode='?avg_dis'), alpha=0.2) + "
        "0.075*MatchingLoss(APLoss(fp=torch.float16), negatives_padding=7)"
    )


def test_a_weight_inside_a_wrapper_is_refused() -> None:
    with pytest.raises(ConfigError, match="ConfLoss needs a loss per pixel"):
        ConfLoss(2 * Regr3D(L21))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a MatchingLoss"):
        ConfMatchingLoss(2 * MatchingLoss(InfoNCE()))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Regr3D(L21) * Regr3D(L21)  # type: ignore[operator]


def test_sky_outside_a_conf_loss(views: Views) -> None:
    assert torch.equal(Regr3D(L21)(*views)[0], Regr3D(L21, sky_loss_value=0)(*views)[0])
    with pytest.raises(ConfigError, match="outside a ConfLoss"):
        Regr3D(L21, sky_loss_value=2)(*views)
    with_default = ConfLoss(Regr3D(L21))(*views)[0]
    assert torch.equal(with_default, ConfLoss(Regr3D(L21, sky_loss_value=2))(*views)[0])


def test_conf_loss_takes_loss_in_log(views: Views) -> None:
    inside = ConfLoss(Regr3D(L21, loss_in_log=True))(*views)[0]
    assert torch.equal(ConfLoss(Regr3D(L21), loss_in_log=True)(*views)[0], inside)
    plain = ConfLoss(Regr3D(L21))(*views)[0]
    assert torch.equal(ConfLoss(Regr3D(L21), loss_in_log=False)(*views)[0], plain)
    assert not torch.equal(plain, inside)


@pytest.mark.parametrize("loss", [Regr3D, Regr3D_ShiftInv, Regr3D_ScaleInv, Regr3D_ScaleShiftInv])
@pytest.mark.parametrize("norm_mode", ["avg_dis", "median_dis", "sqrt_dis", "avg_warp-log1p", "?avg_dis"])
def test_samples_without_valid_pixels_keep_values_and_gradients_finite(
    loss: type[Regr3D], norm_mode: str, views: Views
) -> None:
    for view in views[:2]:
        view["valid_mask"][0] = False
    value, _ = ConfLoss(loss(L21, norm_mode=norm_mode))(*views)
    value.backward()
    assert torch.isfinite(value)
    for prediction, points in zip(views[2:], ("pts3d", "pts3d_in_other_view"), strict=True):
        assert torch.isfinite(prediction[points].grad).all()


def test_batch_without_valid_pixels_is_0_with_a_graph(views: Views) -> None:
    for view in views[:2]:
        view["valid_mask"][:] = False
        del view["sky_mask"]
    value, _ = ConfLoss(Regr3D(L21))(*views)
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize("wrap", [lambda loss: loss, lambda loss: ConfMatchingLoss(loss, 10.0)])
def test_batch_without_matches_is_0_with_a_graph(wrap: Any, views: Views) -> None:
    views[0]["valid_corres"] = torch.zeros_like(views[0]["valid_corres"])
    value, details = wrap(MatchingLoss(InfoNCE(mode="proper")))(*views)
    value.backward()
    assert value.item() == 0
    assert details["MatchingLoss_empty"] == 1
    assert details["MatchingLoss"] == 0


@pytest.mark.parametrize("loss", [Regr3D_ShiftInv, Regr3D_ScaleInv, Regr3D_ScaleShiftInv])
def test_a_sample_without_valid_pixels_does_not_change_the_others(loss: type[Regr3D], views: Views) -> None:
    """Its shift is 0 and its scale 1, and nothing of it is in the mean."""
    alone = [{key: value[1:] for key, value in view.items()} for view in views]
    for view in views[:2]:
        view["valid_mask"][0] = False
    for norm_mode in ("median_dis", "avg_dis"):
        value, _ = loss(L21, norm_mode=norm_mode)(*views)
        torch.testing.assert_close(value, loss(L21, norm_mode=norm_mode)(*alone)[0])


def test_shift_and_scale_of_nothing() -> None:
    points, nothing = torch.randn(1, 2, 3, 3), torch.zeros(1, 2, 3, dtype=torch.bool)
    assert joint_depth(points, points, nothing, nothing).tolist() == [0.0]
    assert joint_scale(points, points, nothing, nothing).flatten().tolist() == [1.0]
    for mode in ("median_dis", "sqrt_dis"):
        normalization = PointNormalization.from_mode(mode)
        assert normalization is not None
        assert normalization.factor(points, points, nothing, nothing).flatten().tolist() == [1.0]


@pytest.mark.parametrize(("short", "long"), [("median", "median_dis"), ("?sqrt_any", "?sqrt_dis")])
def test_the_end_of_median_and_sqrt_modes_does_not_count(short: str, long: str, views: Views) -> None:
    assert torch.equal(Regr3D(L21, norm_mode=short)(*views)[0], Regr3D(L21, norm_mode=long)(*views)[0])


def test_max_metric_scale_leaves_the_batch_alone(views: Views) -> None:
    far = Regr3D(L21, norm_mode="?avg_dis", max_metric_scale=1e-3)(*views)[0]
    assert torch.equal(far, Regr3D(L21, norm_mode="avg_dis")(*views)[0])
    assert not torch.equal(far, Regr3D(L21, norm_mode="?avg_dis")(*views)[0])
    assert views[0]["is_metric_scale"].tolist() == [True, False]


@pytest.mark.parametrize("loss", [Regr3D_ShiftInv, Regr3D_ScaleInv, Regr3D_ScaleShiftInv])
def test_invariant_losses_take_no_dist_clip(loss: type[Regr3D], views: Views) -> None:
    for wrapped in (loss(L21), ConfLoss(loss(L21))):
        with pytest.raises(ConfigError, match="takes no dist_clip"):
            wrapped(*views, dist_clip=3.0)


def test_negative_confidence_without_negatives_or_matches(views: Views) -> None:
    matching = MatchingLoss(InfoNCE(mode="proper"))
    plain, with_negatives = (
        ConfMatchingLoss(matching, 10.0, neg_conf_loss_quantile=quantile) for quantile in (False, 0.5)
    )
    views[0]["valid_corres"] = torch.ones_like(views[0]["valid_corres"])
    assert torch.equal(with_negatives(*views)[0], plain(*views)[0])
    views[0]["valid_corres"] = torch.zeros_like(views[0]["valid_corres"])
    value, _ = with_negatives(*views)
    value.backward()
    assert value.item() == 0


def test_missing_sky_and_metric_scale_count_as_none(views: Views) -> None:
    expected, _ = ConfLoss(Regr3D(L21, norm_mode="avg_dis", sky_loss_value=0))(*views)
    for view in views[:2]:
        del view["sky_mask"], view["is_metric_scale"]
    assert torch.equal(ConfLoss(Regr3D(L21, norm_mode="?avg_dis"))(*views)[0], expected)


def test_blocks_do_not_change_the_value_of_equal_blocks(views: Views) -> None:
    loss = MatchingLoss(InfoNCE(mode="all"), blocksize=4, negatives_padding=3)
    order = torch.arange(MATCHES).expand(BATCH, MATCHES)
    value, _ = loss(*views, permutation=order)
    blocks = []
    for start in range(0, MATCHES, 4):
        part = [dict(view) for view in views]
        for key in ("corres", "valid_corres"):
            part[0][key] = views[0][key][:, start : start + 4]
            part[1][key] = views[1][key][:, start : start + 4]
        inputs = loss.inputs(*part, with_confidence=False)
        assert inputs.desc2.shape == (BATCH, 4 + 3, DIM)
        blocks.append(inputs)
    whole = loss.inputs(*views, permutation=order, with_confidence=False)
    assert whole.desc2.shape == (BATCH * 3, 4 + 3, DIM)
    assert torch.equal(whole.desc1[:3], torch.stack([block.desc1[0] for block in blocks]))
    assert torch.isfinite(value)


def test_block_order_comes_from_the_generator(views: Views) -> None:
    loss = MatchingLoss(InfoNCE(mode="proper"), blocksize=4)
    values = [loss(*views, generator=torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_negatives_are_the_first_free_pixels(views: Views) -> None:
    loss = MatchingLoss(APLoss(), negatives_padding=5)
    negatives = loss.inputs(*views, with_confidence=False).desc2[:, MATCHES:]
    for sample in range(BATCH):
        taken = {int(x) + WIDTH * int(y) for x, y in views[1]["corres"][sample]}
        free = [pixel for pixel in range(HEIGHT * WIDTH) if pixel not in taken][:5]
        assert torch.equal(negatives[sample], views[3]["desc"][sample].flatten(0, 1)[free])


def test_matching_errors(views: Views) -> None:
    with pytest.raises(InputError, match="exceed the 6 x 8 = 48 pixels"):
        MatchingLoss(APLoss(), negatives_padding=37)(*views)
    with pytest.raises(InputError, match="blocksize=5 does not divide"):
        MatchingLoss(InfoNCE(), blocksize=5)(*views)
    with pytest.raises(InputError, match="exactly as many candidates"):
        MatchingLoss(InfoNCE(mode="proper"), negatives_padding=1)(*views)
    views[0]["corres"] = torch.full((BATCH, 0, 2), torch.nan)
    with pytest.raises(InputError, match="no correspondences"):
        MatchingLoss(InfoNCE())(*views)
    del views[0]["corres"], views[0]["valid_corres"]
    with pytest.raises(InputError, match="no correspondences"):
        MatchingLoss(InfoNCE())(*views)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Regr3D(L21, norm_mode="max_dis"),
        lambda: Regr3D("L21"),  # type: ignore[arg-type]
        lambda: InfoNCE(mode="some"),  # type: ignore[arg-type]
        lambda: InfoNCE(temperature=0),
        lambda: APLoss(nq=20),  # type: ignore[arg-type]
        lambda: ConfMatchingLoss(MatchingLoss(InfoNCE()), confmode="max"),  # type: ignore[arg-type]
        lambda: ConfLoss(Regr3D(L21), alpha=0),
    ],
)
def test_wrong_options_are_refused_early(build: Any) -> None:
    with pytest.raises(ConfigError):
        build()


def test_losses_are_float32_under_autocast(views: Views) -> None:
    loss = ConfLoss(Regr3D(L21)) + ConfMatchingLoss(MatchingLoss(InfoNCE(mode="proper", temperature=0.05)))
    expected, _ = loss(*views)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = loss(*views)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


def test_a_sum_leaves_its_terms_alone(views: Views) -> None:
    first = Regr3D(L21)
    before = repr(first), first(*views)[0].item()
    _ = 3 * (first + 2 * ConfLoss(first, alpha=0.5))
    assert (repr(first), first(*views)[0].item()) == before


def test_every_loss_is_registered() -> None:
    losses = registry("losses")
    for name in LOSSES:
        assert losses.owner(name)
        assert losses[name] is not None
    assert losses["L21"] is L21
