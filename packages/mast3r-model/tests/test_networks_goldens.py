"""Every golden network output, gradient and frozen list (goldens/model/README.md, sections 1 and 6)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mast3r_model import AsymmetricCroCo3DStereo, ModelConfig

CASES = {
    "dust3r_linear": ("pair", "portrait", "mixed_size", "batch2", "symmetrized"),
    "dust3r_dpt": ("pair", "portrait", "mixed_size", "batch2", "symmetrized"),
    "mast3r_catmlpdpt": ("pair", "portrait", "mixed_size", "batch2", "symmetrized"),
    "mast3r_oneconf": ("pair", "mixed_size", "symmetrized"),
    "mast3r_catconv": ("pair",),
    "dust3r_linear_modes": ("pair",),
    "dust3r_linear_noconf": ("pair",),
}
CASES_AS_STORED = {
    "dust3r_linear": ("manyar_mixed", "manyar_allportrait"),
    "dust3r_dpt": ("manyar_mixed", "manyar_allportrait"),
    "mast3r_catmlpdpt": ("manyar_mixed", "manyar_allportrait"),
    "mast3r_oneconf": ("manyar_mixed",),
    "mast3r_catconv": ("manyar_mixed",),
    "dust3r_linear_modes": ("manyar_mixed",),
}
ALL = [(name, case, True) for name, cases in CASES.items() for case in cases] + [
    (name, case, False) for name, cases in CASES_AS_STORED.items() for case in cases
]

Goldens = Callable[[str], Path]


@pytest.fixture(scope="module")
def models() -> Iterator[dict[tuple[str, bool], AsymmetricCroCo3DStereo]]:
    """Networks loaded so far: the DPT ones are too large to load for each case."""
    loaded: dict[tuple[str, bool], AsymmetricCroCo3DStereo] = {}
    yield loaded
    loaded.clear()


def load(path: Path, *, for_inference: bool) -> AsymmetricCroCo3DStereo:
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(path, weights_only=True)
    config = ModelConfig.from_expression(checkpoint["args"].model)
    with torch.device("meta"):
        model = (config.for_inference() if for_inference else config).build()
    weights = {name: weight.clone() for name, weight in checkpoint["model"].items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def view(arrays: np.lib.npyio.NpzFile, case: str, number: int) -> dict[str, object]:
    return {
        "img": torch.from_numpy(arrays[f"{case}/img{number}"]),
        "true_shape": torch.from_numpy(arrays[f"{case}/true_shape{number}"]),
        "instance": arrays[f"{case}/instance{number}"].tolist(),
    }


def assert_close(found: Tensor, expected: np.ndarray, what: str) -> None:
    assert found.shape == expected.shape, what
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=5e-5, err_msg=what)


@pytest.mark.parametrize(("name", "case", "for_inference"), ALL)
def test_outputs(
    name: str,
    case: str,
    for_inference: bool,
    goldens: Goldens,
    models: dict[tuple[str, bool], AsymmetricCroCo3DStereo],
) -> None:
    arrays = np.load(goldens(f"model/{name}.npz"), allow_pickle=False)
    path = goldens(f"model/{name}.pth")
    key = (name, for_inference)
    if key not in models:
        models[key] = load(path, for_inference=for_inference)
    model = models[key]
    view1, view2 = view(arrays, case, 1), view(arrays, case, 2)
    with torch.no_grad():
        predictions = model(view1, view2)

    checked = 0
    for number, prediction in enumerate(predictions, start=1):
        assert all(value.dtype == torch.float32 for value in prediction.values())
        expected_keys = set()
        for golden in arrays:
            if not golden.startswith(f"{case}/pred{number}_") or golden.endswith("__shape"):
                continue
            output, _, step = golden.removeprefix(f"{case}/pred{number}_").partition("__s")
            expected_keys.add(output)
            shape = tuple(arrays[f"{case}/pred{number}_{output}__shape"])
            assert prediction[output].shape == shape
            stride = int(step or 1)
            assert_close(prediction[output][:, ::stride, ::stride], arrays[golden], golden)
            checked += 1
        assert set(prediction) == expected_keys
    assert list(predictions[1])[-1] == "pts3d_in_other_view"
    assert checked >= 2
    if f"{case}/feat1" in arrays:
        check_tokens(model, arrays, case)


@torch.no_grad()
def check_tokens(model: AsymmetricCroCo3DStereo, arrays: np.lib.npyio.NpzFile, case: str) -> None:
    """Encoder and decoder tokens, positions, and the raw DPT map where it is stored."""
    encoded = [
        model.encode_batch(torch.as_tensor(one["img"]), torch.as_tensor(one["true_shape"]))
        for one in (view(arrays, case, 1), view(arrays, case, 2))
    ]
    outputs = model.decode(*encoded)
    for number in (1, 2):
        side, batch = outputs[number - 1], encoded[number - 1]
        assert_close(batch.tokens, arrays[f"{case}/feat{number}"], f"feat{number}")
        np.testing.assert_array_equal(batch.positions.numpy(), arrays[f"{case}/pos{number}"])
        assert len(side) == 1 + model.dec_depth
        assert_close(torch.stack(side[1:]), arrays[f"{case}/dec{number}"], f"dec{number}")
        if f"{case}/dpt_raw{number}" in arrays:
            head = model.get_submodule(f"downstream_head{number}.dpt")
            assert_close(head(side, batch.image_shape), arrays[f"{case}/dpt_raw{number}"], f"dpt_raw{number}")


def test_gradients(goldens: Goldens) -> None:
    arrays = np.load(goldens("model/dust3r_linear_grads.npz"), allow_pickle=False)
    model = load(goldens("model/dust3r_linear.pth"), for_inference=True).train()
    images = [torch.from_numpy(arrays[f"img{number}"]).requires_grad_() for number in (1, 2)]
    predictions = model({"img": images[0]}, {"img": images[1]})
    loss = torch.zeros(())
    for prediction in predictions:
        for value in prediction.values():
            weights = np.cos(0.37 * np.arange(value.numel(), dtype=np.float64)).astype(np.float32)
            loss = loss + (torch.from_numpy(weights).view(value.shape) * value).mean()
    loss.backward()
    np.testing.assert_allclose(loss.item(), arrays["loss"], rtol=1e-5)
    for number in (1, 2):
        assert_close(images[number - 1].grad, arrays[f"grad_img{number}"], f"grad_img{number}")
    parameters = dict(model.named_parameters())
    assert set(parameters) == set(arrays["param_names"].tolist())
    for name, norm in zip(arrays["param_names"].tolist(), arrays["param_grad_norm"], strict=True):
        gradient = parameters[name].grad
        if norm < 0:
            assert gradient is None, name
            continue
        np.testing.assert_allclose(gradient.double().norm().item(), norm, rtol=1e-4, atol=1e-7, err_msg=name)
    for name in (key.removeprefix("grad.") for key in arrays if key.startswith("grad.")):
        np.testing.assert_allclose(
            parameters[name].grad.numpy(), arrays[f"grad.{name}"], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("freeze", ["none", "mask", "encoder"])
def test_frozen_parameters(freeze: str, goldens: Goldens) -> None:
    frozen = json.loads(goldens("model/state_dict_adaptation.json").read_text())["freeze"][freeze]
    with torch.device("meta"):
        model = AsymmetricCroCo3DStereo(
            pos_embed="RoPE100", enc_depth=2, dec_depth=1, dec_embed_dim=64, freeze=freeze
        )
    assert {name for name, weight in model.named_parameters() if not weight.requires_grad} == set(frozen)


@pytest.mark.parametrize("name", sorted(CASES))
def test_counts(name: str, goldens: Goldens) -> None:
    expected = json.loads(goldens("model/models.json").read_text())[name]
    with torch.device("meta"):
        model = ModelConfig.from_expression(expected["model_string"]).build()
    assert sum(weight.numel() for weight in model.parameters()) == expected["num_params"]
    assert len(model.state_dict()) == expected["num_state_keys"]
