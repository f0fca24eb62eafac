"""Encoding once, decoding pairs, orientations, symmetrised batches, copies, precision."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mast3r_model import AsymmetricCroCo3DStereo, AsymmetricMASt3R, InputError, resolve_precision
from mast3r_model.networks.schedule import in_order
from mast3r_model.networks.views import is_symmetrized

SMALL: dict[str, Any] = {
    "pos_embed": "RoPE100",
    "img_size": (64, 64),
    "enc_embed_dim": 32,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "dec_embed_dim": 32,
    "dec_depth": 2,
    "dec_num_heads": 2,
}
INFERENCE: dict[str, Any] = {"landscape_only": False}
STORED: dict[str, Any] = {"landscape_only": True, "patch_embed_cls": "ManyAR_PatchEmbed"}
HEADS: dict[str, dict[str, Any]] = {
    "linear": {},
    "catconv": {"output_mode": "pts3d+desc6"},
    "nano": {"output_mode": "pts3d+desc6", "two_confs": True},
}


def build(head_type: str, **keywords: Any) -> AsymmetricCroCo3DStereo:
    torch.manual_seed(0)
    network = AsymmetricCroCo3DStereo if head_type == "linear" else AsymmetricMASt3R
    return network(head_type=head_type, **HEADS[head_type], **{**SMALL, **INFERENCE, **keywords}).eval()


def photo(height: int, width: int, seed: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def assert_close(found: Tensor | None, expected: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("head_type", sorted(HEADS))
@pytest.mark.parametrize("layout", [INFERENCE, STORED], ids=["inference", "stored"])
def test_decode_pairs_equals_forward(head_type: str, layout: dict[str, Any]) -> None:
    plain, model = build(head_type), build(head_type, **layout)
    images = [photo(32, 48, 1), photo(48, 32, 2), photo(32, 48, 3)]
    features = model.encode(images, batch_size=2)
    assert [image.image_shape for image in features] == [(32, 48), (48, 32), (32, 48)]
    pairs = [(0, 1), (1, 0), (0, 2), (2, 1), (2, 2)]
    predictions = list(model.decode_pairs(features, pairs, batch_size=2))
    assert len(predictions) == len(pairs)
    for (first, second), prediction in zip(pairs, predictions, strict=True):
        with torch.no_grad():
            one, two = plain({"img": images[first][None]}, {"img": images[second][None]})
        assert_close(prediction.pts3d1, one["pts3d"][0])
        assert_close(prediction.pts3d2_in_view1, two["pts3d_in_other_view"][0])
        assert_close(prediction.conf1, one["conf"][0])
        assert_close(prediction.conf2, two["conf"][0])
        if head_type == "linear":
            assert prediction.desc1 is None
            assert prediction.desc_conf2 is None
        else:
            assert_close(prediction.desc1, one["desc"][0])
            assert_close(prediction.desc2, two["desc"][0])
            assert_close(prediction.desc_conf1, one["desc_conf"][0])
            assert_close(prediction.desc_conf2, two["desc_conf"][0])
        assert not prediction.pts3d1.requires_grad


DESCRIBING: dict[str, tuple[str, dict[str, Any]]] = {
    "nano": ("nano", {}),
    "catconv": ("catconv", {"two_confs": True}),
    "catmlp+dpt": ("catmlp+dpt", {"output_mode": "pts3d+desc6", "two_confs": True, "dec_depth": 12}),
    "points needed": ("catconv", {"two_confs": False}),
}


@pytest.mark.parametrize("name", DESCRIBING)
def test_describe_pairs_gives_the_descriptors_of_decode_pairs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head_type, keywords = DESCRIBING[name]
    torch.manual_seed(0)
    options = {**SMALL, **INFERENCE, **HEADS.get(head_type, {}), **keywords}
    model = AsymmetricMASt3R(head_type=head_type, **options).eval()
    features = model.encode([photo(32, 48, 1), photo(48, 32, 2)])
    expected = list(model.decode_pairs(features, [(0, 1), (1, 0)]))
    heads = (model.downstream_head1, model.downstream_head2)
    whole_head_runs: list[object] = []
    for head in heads:
        head.register_forward_hook(lambda *_: whole_head_runs.append(None))
    found = list(model.describe_pairs(features, [(0, 1), (1, 0)]))
    assert len(found) == 2
    for short, whole in zip(found, expected, strict=True):
        for field in ("desc1", "desc_conf1", "desc2", "desc_conf2"):
            torch.testing.assert_close(getattr(short, field), getattr(whole, field), rtol=0, atol=0)
    assert bool(whole_head_runs) == (name == "points needed")  # its confidence is that of the points


def test_describe_pairs_needs_descriptors() -> None:
    model = build("linear")
    with pytest.raises(InputError, match="no descriptors"):
        list(model.describe_pairs(model.encode([photo(32, 32, 1)]), [(0, 0)]))


def test_encoder_runs_once_per_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("nano")
    encoded_images: list[int] = []
    original = model.encode_image

    def counting(image: Tensor, true_shape: Tensor | None = None) -> tuple[Tensor, Tensor]:
        encoded_images.append(len(image))
        return original(image, true_shape)

    monkeypatch.setattr(model, "encode_image", counting)
    features = model.encode([photo(32, 32, seed) for seed in range(5)], batch_size=2)
    list(model.decode_pairs(features, [(i, j) for i in range(5) for j in range(5)]))
    assert sum(encoded_images) == 5


@pytest.mark.parametrize("head_type", sorted(HEADS))
def test_mixed_orientations_in_one_batch(head_type: str) -> None:
    """A portrait image in a landscape tensor gives the transpose of what the upright image gives."""
    plain, stored = build(head_type), build(head_type, **STORED)
    landscape, portrait = photo(32, 48, 1), photo(48, 32, 2)
    mixed = torch.stack([landscape, portrait.transpose(1, 2)])
    view1 = {"img": mixed, "true_shape": torch.tensor([[32, 48], [48, 32]])}
    view2 = {"img": mixed.flip(0), "true_shape": torch.tensor([[48, 32], [32, 48]])}
    with torch.no_grad():
        one, two = stored(view1, view2)
        first1, first2 = plain({"img": landscape[None]}, {"img": portrait[None]})
        second1, second2 = plain({"img": portrait[None]}, {"img": landscape[None]})
    for key in first1:
        assert_close(one[key][0], first1[key][0])
        assert_close(one[key][1], second1[key][0].transpose(0, 1))
    for key in first2:
        assert_close(two[key][0], first2[key][0].transpose(0, 1))
        assert_close(two[key][1], second2[key][0])


@pytest.mark.parametrize("head_type", sorted(HEADS))
def test_symmetrized_batch_equals_plain_batch(head_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(head_type)
    a, b, c, d = (photo(32, 48, seed) for seed in range(4))
    view1 = {"img": torch.stack([a, b, c, d]), "instance": ["a", "b", "c", "d"]}
    view2 = {"img": torch.stack([b, a, d, c]), "instance": ["b", "a", "d", "c"]}
    with torch.no_grad():
        half = model(view1, view2)
        full = model({"img": view1["img"]}, {"img": view2["img"]})
    for found, expected in zip(half, full, strict=True):
        assert list(found) == list(expected)
        for key, value in found.items():
            assert_close(value, expected[key])


def test_is_symmetrized() -> None:
    assert is_symmetrized(["x", "y"], ["y", "x"])
    assert not is_symmetrized(["x", "y"], ["x", "y"])
    assert not is_symmetrized(["x"], ["x"])
    assert not is_symmetrized(["x", "y", "z"], ["y", "x", "z"])
    assert not is_symmetrized(None, ["y", "x"])


def test_deepcopy_uses_its_own_heads() -> None:
    model = build("nano", **STORED)
    views = ({"img": photo(32, 48, 1)[None]}, {"img": photo(32, 48, 2)[None]})
    twin = copy.deepcopy(model)
    with torch.no_grad():
        before = model(*views)[0]["pts3d"]
        for weight in twin.downstream_head1.parameters():
            weight.zero_()
        torch.testing.assert_close(model(*views)[0]["pts3d"], before)
        assert (twin(*views)[0]["pts3d"] == 0).all()


def test_pickle_round_trip() -> None:
    model = build("catconv")
    model.precision = resolve_precision("cpu", "fp32")
    twin = pickle.loads(pickle.dumps(model))  # noqa: S301 - bytes made one line above
    views = ({"img": photo(32, 32, 1)[None]}, {"img": photo(32, 32, 2)[None]})
    with torch.no_grad():
        torch.testing.assert_close(twin(*views)[1], model(*views)[1])
    assert twin.config == model.config


@pytest.mark.parametrize("head_type", sorted(HEADS))
def test_half_precision_is_close_and_returns_float32(head_type: str) -> None:
    model = build(head_type)
    views = ({"img": photo(32, 48, 1)[None]}, {"img": photo(32, 48, 2)[None]})
    with torch.no_grad():
        full = model(*views)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            backbone_only = model(*views)
        model.precision = resolve_precision("cpu", "bf16")
        half = model(*views)
    for predictions in (backbone_only, half):
        for found, expected in zip(predictions, full, strict=True):
            for key, value in found.items():
                assert value.dtype == torch.float32
                torch.testing.assert_close(value, expected[key], rtol=0.1, atol=0.1)
    assert not torch.equal(half[0]["pts3d"], full[0]["pts3d"])


def test_float32_precision_overrides_the_callers_autocast() -> None:
    model = build("nano")
    model.precision = resolve_precision("cpu", "fp32")
    views = ({"img": photo(32, 48, 1)[None]}, {"img": photo(32, 48, 2)[None]})
    with torch.no_grad():
        expected = model(*views)[0]["desc"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(model(*views)[0]["desc"], expected, rtol=0, atol=0)


def test_wrong_inputs_are_named() -> None:
    model = build("linear")
    good = photo(32, 48, 1)[None]
    with pytest.raises(InputError, match="30x48"):
        model({"img": good[:, :, :30]}, {"img": good})
    with pytest.raises(InputError, match="img"):
        model({}, {"img": good})
    with pytest.raises(InputError, match=r"\(48, 32\)"):
        model({"img": good, "true_shape": torch.tensor([[48, 32]])}, {"img": good})
    with pytest.raises(InputError, match=r"\(1, 2\)"):
        model({"img": good, "true_shape": torch.tensor([32, 48])}, {"img": good})
    with pytest.raises(InputError, match="different numbers"):
        model({"img": good}, {"img": torch.cat([good, good])})
    with pytest.raises(InputError, match="encode"):
        model.encode([good])
    with pytest.raises(InputError, match="outside"):
        list(model.decode_pairs(model.encode([good[0]]), [(0, 1)]))


def test_orientations_must_agree_without_landscape_only() -> None:
    model = build("linear", patch_embed_cls="ManyAR_PatchEmbed")
    view = {"img": torch.rand(2, 3, 32, 48), "true_shape": torch.tensor([[32, 48], [48, 32]])}
    with pytest.raises(InputError, match="orientation"):
        model(view, view)


@pytest.mark.gpu
@pytest.mark.parametrize("head_type", sorted(HEADS))
@pytest.mark.parametrize("shapes_on", ["cpu", "cuda"])
def test_cuda_equals_cpu(head_type: str, shapes_on: str) -> None:
    """Mixed orientations and symmetrised batches, shapes on either device."""
    model = build(head_type, **STORED)
    mixed = torch.stack([photo(32, 48, 1), photo(32, 48, 2)])
    shapes = torch.tensor([[32, 48], [48, 32]])
    for instances in (["a", "b"], None):
        views = [
            {"img": mixed, "true_shape": shapes, "instance": instances},
            {"img": mixed.flip(0), "true_shape": shapes.flip(0), "instance": instances and instances[::-1]},
        ]
        on_cuda = [{**view, "img": view["img"].cuda()} for view in views]
        for view in on_cuda:
            view["true_shape"] = view["true_shape"].to(shapes_on)
        with torch.no_grad():
            expected, found = model.cpu()(*views), model.cuda()(*on_cuda)
        for one, other in zip(expected, found, strict=True):
            for key, value in one.items():
                torch.testing.assert_close(other[key].cpu(), value, rtol=1e-2, atol=1e-2)
    features = model.encode([photo(32, 48, 1), photo(48, 32, 2)])
    moved = [image.to("cpu") for image in features]
    assert next(model.decode_pairs(moved, [(0, 1)])).pts3d1.device.type == "cuda"


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(st.integers(0, 3), max_size=30), batch_size=st.integers(1, 5))
def test_in_order(keys: list[int], batch_size: int) -> None:
    batches: list[list[int]] = []

    def compute(rows: list[int]) -> list[int]:
        batches.append(rows)
        return rows

    assert list(in_order(keys, compute, batch_size=batch_size)) == list(range(len(keys)))
    for rows in batches:
        assert 1 <= len(rows) <= batch_size
        assert len({keys[row] for row in rows}) == 1
    full_batches = sum(-(-keys.count(key) // batch_size) for key in set(keys))
    assert len(batches) == full_batches


@pytest.mark.parametrize("head_type", sorted(HEADS))
def test_gradient_checkpointing_changes_no_gradient(head_type: str) -> None:
    plain = build(head_type, **STORED).train()
    saving = copy.deepcopy(plain)
    saving.gradient_checkpointing = True
    images = torch.stack([photo(32, 48, seed) for seed in range(2)])
    for model in (plain, saving):
        prediction1, prediction2 = model({"img": images}, {"img": images.flip(0)})
        sum(maps.mean() for maps in (*prediction1.values(), *prediction2.values())).backward()
    compared = 0
    for (name, expected), found in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None), name
        if expected.grad is not None:
            assert torch.equal(found.grad, expected.grad), name
            compared += 1
    assert compared > 50
