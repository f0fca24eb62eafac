"""The two pixel layouts and the masked loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pixel_shuffle
from torch.testing import assert_close

from croco_backbone import MaskedMSE, normalize_patches, patchify, pixel_shuffle_tokens, unpatchify

sides = st.integers(1, 4)


@settings(max_examples=25, deadline=None)
@given(rows=sides, columns=sides, patch=sides)
def test_unpatchify_undoes_patchify(rows: int, columns: int, patch: int) -> None:
    image = torch.randn(2, 3, rows * patch, columns * patch)
    patches = patchify(image, patch)
    assert patches.shape == (2, rows * columns, 3 * patch**2)
    assert torch.equal(unpatchify(patches, patch, grid=(rows, columns)), image)


def test_layouts_differ() -> None:
    image = torch.arange(12.0).view(1, 3, 2, 2)
    assert patchify(image, 2).flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert torch.equal(pixel_shuffle_tokens(torch.arange(12.0).view(1, 1, 12), 2, (1, 1)), image)


def test_pixel_shuffle_tokens_is_pixel_shuffle() -> None:
    tokens = torch.randn(2, 6, 20)
    expected = pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (2, 3)), 2)
    assert torch.equal(pixel_shuffle_tokens(tokens, 2, (2, 3)), expected)


def test_layout_errors() -> None:
    with pytest.raises(ValueError, match="4x6 pixels"):
        patchify(torch.zeros(1, 3, 4, 6), 4)
    with pytest.raises(ValueError, match="6 patches"):
        unpatchify(torch.zeros(1, 6, 12), 2)
    assert unpatchify(torch.zeros(1, 9, 12), 2).shape == (1, 3, 6, 6)


def test_normalised_patches() -> None:
    patches = torch.randn(2, 3, 12) * 5 + 2
    normalised, mean, scale = normalize_patches(patches)
    assert_close(normalised.var(dim=-1), torch.ones(2, 3), atol=1e-4, rtol=0.0)
    assert_close(normalised * scale + mean, patches)


def test_only_hidden_patches_count() -> None:
    target = torch.randn(1, 4, 12)
    prediction = target.clone()
    prediction[0, 2] += 2.0
    hidden = torch.tensor([[True, True, False, False]])
    assert MaskedMSE()(prediction, hidden, target) == 0
    assert_close(MaskedMSE()(prediction, ~hidden, target), torch.tensor(2.0))
    assert_close(MaskedMSE(masked=False)(prediction, hidden, target), torch.tensor(1.0))
