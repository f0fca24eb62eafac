"""Triton and CUDA against the twin, on a GPU: ``pytest packages/curope -m gpu``.

The CUDA library is the one that curope finds, else it is built for this GPU first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import curope
from curope import backends, build, cuda_library

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

# Sines of two libraries differ in the last bit, and a difference may cross one rounding of a half.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
HEAD_DIMS = (8, 48, 64, 128)


@pytest.fixture(scope="session")
def cuda_library_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        return str(cuda_library.find_library())
    except FileNotFoundError:
        pass
    try:
        build.find_nvcc()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return str(build.build(tmp_path_factory.mktemp("library"), architectures="native"))


@pytest.fixture(params=["triton", "cuda", "reference"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    if request.param == "cuda":
        monkeypatch.setenv("CUROPE_LIBRARY", request.getfixturevalue("cuda_library_path"))
    monkeypatch.setenv("CUROPE_BACKEND", request.param)
    for cached in (backends._availability, backends._choose, backends._rotation):
        cached.cache_clear()
    assert curope.backend("cuda").name == request.param, curope.backend("cuda")
    yield request.param
    for cached in (backends._availability, backends._choose, backends._rotation):
        cached.cache_clear()


def sample(
    head_dim: int, dtype: torch.dtype = torch.float32, position_dtype: torch.dtype = torch.int64
) -> tuple[Tensor, Tensor]:
    """A view of a fused qkv and a strided view of positions, on the CPU; sizes that fill no block."""
    generator = torch.Generator().manual_seed(3)
    qkv = torch.randn(3, 77, 3, 6, head_dim, generator=generator, dtype=torch.float64).to(dtype)
    positions = torch.randint(-5, 64, (3, 2, 77), generator=generator).to(position_dtype).transpose(1, 2)
    return qkv[:, :, 0].transpose(1, 2), positions


def assert_near(actual: Tensor, expected: Tensor) -> None:
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(actual.cpu(), expected.cpu(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("position_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_forward_and_backward(
    backend: str, head_dim: int, dtype: torch.dtype, position_dtype: torch.dtype
) -> None:
    tokens, positions = sample(head_dim, dtype, position_dtype)
    grad = torch.randn(3, head_dim, 77, 6).to(dtype).permute(0, 3, 2, 1)
    results = []
    for device in ("cpu", "cuda"):  # on the CPU it is always the twin
        leaf = tokens.to(device).requires_grad_()
        out = curope.rope2d(leaf, positions.to(device), 60.0, 0.9)
        out.backward(grad.to(device))
        results.append((out.detach(), leaf.grad))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_in_place_on_a_view(backend: str, head_dim: int) -> None:
    tokens, positions = sample(head_dim)
    expected = curope.rope2d(tokens, positions)
    qkv = torch.randn(3, 77, 3, 6, head_dim, device="cuda")
    qkv[:, :, 1] = tokens.transpose(1, 2).cuda()
    kept = qkv.clone()
    curope.rope2d_(qkv[:, :, 1].transpose(1, 2), positions.cuda())
    assert_near(qkv[:, :, 1].transpose(1, 2), expected)
    assert torch.equal(qkv[:, :, ::2], kept[:, :, ::2])


@pytest.mark.parametrize("head_dim", [48, 128, 260])
def test_no_race(backend: str, head_dim: int) -> None:
    tokens = torch.randn(2, 64, 300, head_dim, device="cuda")
    positions = torch.randint(0, 64, (2, 300, 2), device="cuda")
    first = curope.rope2d(tokens, positions)
    for _ in range(30):
        assert torch.equal(curope.rope2d(tokens, positions), first)
        assert torch.equal(curope.rope2d_(tokens.clone(), positions), first)


def test_gradcheck(backend: str) -> None:
    tokens = torch.randn(1, 2, 3, 8, device="cuda", dtype=torch.float64, requires_grad=True)
    positions = torch.randint(0, 9, (1, 3, 2), device="cuda")
    assert torch.autograd.gradcheck(lambda t: curope.rope2d(t, positions), tokens)


def warm(function: Callable[[], object]) -> None:
    """First use compiles and fills caches, which may wait for the device."""
    function()
    torch.cuda.synchronize()


def test_follows_the_current_stream(backend: str) -> None:
    tokens, positions = (tensor.cuda() for tensor in sample(64))
    expected = curope.rope2d(tokens, positions)
    warm(lambda: curope.rope2d(tokens, positions))
    late = torch.zeros_like(tokens)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a kernel on another stream would overtake the copy
        late.copy_(tokens)
        out = curope.rope2d(late, positions)
    stream.synchronize()
    assert torch.equal(out, expected)


def test_never_waits_for_the_device(backend: str) -> None:
    tokens, positions = (tensor.cuda() for tensor in sample(64))
    tokens = tokens.detach().requires_grad_()
    grad = torch.ones_like(tokens)

    def forward_and_backward() -> None:
        curope.rope2d(tokens, positions).backward(grad)

    warm(forward_and_backward)
    torch.cuda.set_sync_debug_mode("error")
    try:
        forward_and_backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_is_captured_in_a_graph(backend: str) -> None:
    tokens, positions = (tensor.cuda() for tensor in sample(64))
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        warm(lambda: curope.rope2d(tokens, positions))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = curope.rope2d(tokens, positions)
    tokens.mul_(2)
    graph.replay()
    assert torch.equal(out, curope.rope2d(tokens, positions))


def test_compiles_with_inductor(backend: str) -> None:
    def scores(tokens: Tensor, positions: Tensor) -> Tensor:
        rotated = curope.rope2d(tokens * 2, positions)
        return rotated @ rotated.transpose(-1, -2)

    tokens, positions = (tensor.cuda() for tensor in sample(64))
    compiled = torch.compile(scores, fullgraph=True)
    torch.testing.assert_close(compiled(tokens, positions), scores(tokens, positions), atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_runs_on_the_device_of_the_tokens(backend: str) -> None:
    tokens, positions = sample(64)
    with torch.cuda.device(0):
        out = curope.rope2d(tokens.to("cuda:1"), positions.to("cuda:1"))
    assert out.device == torch.device("cuda:1")
    assert_near(out, curope.rope2d(tokens, positions))


def test_tokens_and_positions_on_two_devices(backend: str) -> None:
    tokens, positions = sample(8)
    with pytest.raises(ValueError, match=r"cuda:0.*got cpu"):
        curope.rope2d(tokens.cuda(), positions)


def test_more_elements_than_32_bits_can_count(backend: str) -> None:
    if backend == "reference":
        pytest.skip("the twin leaves its indices to PyTorch")
    head_dim, count = 64, 2**31 // 64 + 1000
    needed = 3 * 2 * head_dim * count
    if torch.cuda.mem_get_info()[0] < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of free GPU memory")
    tokens = torch.ones(1, 1, count, head_dim, device="cuda", dtype=torch.bfloat16)
    positions = (torch.arange(count, device="cuda", dtype=torch.int32) % 50).view(1, -1, 1).repeat(1, 1, 2)
    out = curope.rope2d(tokens, positions)
    last = slice(count - 100, count)
    assert_near(out[:, :, last], curope.rope2d(tokens[:, :, last].cpu(), positions[:, last].cpu()))
    assert_near(out[:, :, :100], curope.rope2d(tokens[:, :, :100].cpu(), positions[:, :100].cpu()))
