"""Value maps (spec 10 sections 7.5 and 7.8) against goldens and their edge cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mast3r_model import ConfigError, HeadSpec, ModelConfig
from mast3r_model.heads import confidence_from_raw, descriptors_from_raw, output_maps, points_from_raw

INFINITE = (-math.inf, math.inf)
EXP_FROM_1 = ("exp", 1, math.inf)
POST = {
    "post_dust3r": {
        "output_mode": "pts3d",
        "depth_mode": ("square", *INFINITE),
        "conf_mode": ("sigmoid", 0, 1),
    },
    "post_mast3r_twoconf": {
        "output_mode": "pts3d+desc6",
        "two_confs": True,
        "conf_mode": EXP_FROM_1,
        "desc_conf_mode": ("exp", 0, math.inf),
    },
    "post_mast3r_oneconf": {"output_mode": "pts3d+desc6", "conf_mode": EXP_FROM_1},
    "post_mast3r_noconf_twoconf": {
        "output_mode": "pts3d+desc6",
        "two_confs": True,
        "depth_mode": ("linear", *INFINITE),
        "conf_mode": None,
        "desc_conf_mode": ("exp", 0, math.inf),
    },
}


@pytest.fixture
def arrays(goldens: Callable[[str], Path]) -> np.lib.npyio.NpzFile:
    return np.load(goldens("model/reg_modes.npz"), allow_pickle=False)


def assert_same(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("mode", ["linear", "square", "exp"])
def test_points_and_their_gradient(mode: str, arrays: np.lib.npyio.NpzFile) -> None:
    raw = torch.from_numpy(arrays["xyz"]).requires_grad_()
    points = points_from_raw(raw, (mode, *INFINITE))
    golden = f"depth_{mode}" + ("_nonfinite" if mode == "exp" else "")
    assert_same(points, arrays[golden])

    counted = torch.ones_like(points)
    counted[0, 0] = 0
    points[counted.bool()].sum().backward()
    gradient, expected = raw.grad, arrays[f"depth_{mode}_grad_of_sum_excluding_row00"].copy()
    gradient[0, 0] = 0
    expected[0, 0] = 0
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_gradient_at_zero_is_finite() -> None:
    for mode in ("linear", "square", "exp"):
        raw = torch.zeros(2, 3, requires_grad=True)
        points_from_raw(raw, (mode, *INFINITE)).sum().backward()
        assert raw.grad.isfinite().all()


def test_confidences(arrays: np.lib.npyio.NpzFile) -> None:
    raw = torch.from_numpy(arrays["conf_in"])
    names = [key for key in arrays if key.startswith(("conf_exp", "conf_sigmoid"))]
    assert len(names) == 6
    for name in names:
        kind, lower, upper = name.removeprefix("conf_").removesuffix("_nonfinite").split("_")
        assert_same(confidence_from_raw(raw, (kind, float(lower), float(upper))), arrays[name])


def test_descriptors(arrays: np.lib.npyio.NpzFile) -> None:
    found = descriptors_from_raw(torch.from_numpy(arrays["desc_in"]), "norm")
    expected = arrays["desc_norm_nonfinite"]
    zero_vector = np.isnan(expected)
    assert (found.numpy()[zero_vector] == 0).all()
    np.testing.assert_allclose(found.numpy()[~zero_vector], expected[~zero_vector], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(POST))
def test_output_maps(name: str, arrays: np.lib.npyio.NpzFile) -> None:
    mast3r = "mast3r" in name
    config = ModelConfig(
        architecture="AsymmetricMASt3R" if mast3r else "AsymmetricCroCo3DStereo",
        pos_embed="RoPE100",
        **POST[name],
    )
    spec = HeadSpec.from_config(config)
    raw = torch.from_numpy(arrays[f"{name}/in"]).permute(0, 2, 3, 1)
    points, descriptors = raw.split([spec.point_channels, spec.descriptor_channels], dim=-1)
    found = output_maps(points, descriptors if mast3r else None, spec)
    expected = {
        key.removeprefix(f"{name}/"): arrays[key]
        for key in arrays
        if key.startswith(f"{name}/") and key != f"{name}/in"
    }
    assert set(found) == set(expected)
    for key, value in found.items():
        assert value.is_contiguous()
        assert_same(value, expected[key])


def test_half_input_gives_float32() -> None:
    config = ModelConfig(
        architecture="AsymmetricMASt3R", pos_embed="RoPE100", output_mode="pts3d+desc4", two_confs=True
    )
    spec = HeadSpec.from_config(config)
    outputs = output_maps(
        torch.randn(1, 2, 2, 4, dtype=torch.bfloat16), torch.randn(1, 2, 2, 5, dtype=torch.bfloat16), spec
    )
    assert all(value.dtype == torch.float32 for value in outputs.values())


def test_unknown_modes() -> None:
    with pytest.raises(ConfigError, match="cube"):
        points_from_raw(torch.zeros(3), ("cube", *INFINITE))
    with pytest.raises(ConfigError, match="tanh"):
        confidence_from_raw(torch.zeros(3), ("tanh", 0, 1))
    with pytest.raises(ConfigError, match="raw"):
        descriptors_from_raw(torch.zeros(3), "raw")
