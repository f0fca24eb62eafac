"""The Triton kernel without a GPU: Triton's interpreter runs it on the CPU, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Prints one line per comparison that fails. The interpreter truncates to bfloat16, hence its tolerance.
SCRIPT = """
import torch, curope
from curope.reference import compute_dtype, inverse_frequencies, rotate_into

assert curope.backend("cpu").name == "triton", curope.backend("cpu")
tolerances = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 1.6e-2}
cases = [(8, torch.float32), (12, torch.float64), (48, torch.bfloat16), (64, torch.float16)]
for number, (head_dim, dtype) in enumerate(cases):
    qkv = torch.randn(2, 3, 3, 5, head_dim).to(dtype)
    tokens = qkv[:, :, 0].transpose(1, 2)
    position_dtype = (torch.int32, torch.int64)[number % 2]
    positions = torch.randint(-5, 32, (2, 2, 3)).to(position_dtype).transpose(1, 2)
    twin = torch.empty_like(tokens)
    frequencies = inverse_frequencies(head_dim // 4, 30.0, 0.5, compute_dtype(tokens), tokens.device)
    rotate_into(twin, tokens, positions, frequencies)
    leaf = tokens.detach().clone().requires_grad_()
    out = curope.rope2d(leaf, positions, 30.0, 0.5)
    out.backward(twin)
    rotated_qkv = qkv.clone()
    in_place = curope.rope2d_(rotated_qkv[:, :, 0].transpose(1, 2), positions, 30.0, 0.5)
    assert torch.equal(rotated_qkv[:, :, 1:], qkv[:, :, 1:])
    for actual, expected, roundings in ((out, twin, 1), (in_place, twin, 1), (leaf.grad, tokens, 3)):
        error = ((actual - expected).abs() / (1 + expected.abs())).max().item()
        if not error < tolerances[dtype] * roundings:
            print(roundings, head_dim, dtype, position_dtype, error)
"""


def test_agrees_with_the_twin() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUROPE_BACKEND": "triton"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
