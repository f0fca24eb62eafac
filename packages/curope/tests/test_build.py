"""The compiled back ends compile, for GPUs that need not be there: ``pytest packages/curope -m build``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from curope import build

pytestmark = pytest.mark.build


def test_cuda_sources_compile_and_load(tmp_path: Path) -> None:
    try:
        build.find_nvcc()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if torch.version.cuda is None:
        pytest.skip("this PyTorch is built without CUDA")
    library = build.build(tmp_path, architectures="sm_90")
    assert list(tmp_path.iterdir()) == [library]
    code = (
        "import torch; from curope import cuda_library; cuda_library.load();"
        "print(torch._C._dispatch_has_kernel_for_dispatch_key('curope_cuda::rotate_into', 'CUDA'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CUROPE_LIBRARY": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_command_reports_a_failing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    compiler = tmp_path / "nvcc"
    compiler.write_text("#!/bin/sh\necho broken toolkit >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(build, "find_nvcc", lambda: compiler)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(sys, "argv", ["curope.build", "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"nvcc failed \(3\):\nbroken toolkit"):
        build.main()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("capability", [75, 90])
@pytest.mark.parametrize(("token", "compute"), [("fp32", "fp32"), ("bf16", "fp32"), ("fp64", "fp64")])
def test_triton_kernel_compiles_without_shared_memory(capability: int, token: str, compute: str) -> None:
    triton = pytest.importorskip("triton", reason="Triton is not installed")
    compiler = pytest.importorskip("triton.backends.compiler")
    from curope import triton_kernel

    kernel = triton_kernel._rotate_pairs
    constants = {"QUARTER": 12, "ROWS": 16, "PAIRS": 32, "HEADS": 4}
    pointers = {
        "output": f"*{token}",
        "tokens": f"*{token}",
        "positions": "*i64",
        "frequencies": f"*{compute}",
    }
    signature = {
        name: pointers.get(name, "constexpr" if name in constants else "i32") for name in kernel.arg_names
    }
    constexprs = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = triton.compiler.ASTSource(kernel, signature, constexprs=constexprs)
    compiled = triton.compile(
        source, target=compiler.GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": False}
    )
    assert compiled.metadata.shared == 0
    assert "bar.sync" not in compiled.asm["ptx"]
    assert ".approx" not in compiled.asm["ptx"]  # sines and cosines to the last bits
