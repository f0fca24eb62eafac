"""Build the CUDA back end: ``python -m curope.build``. Needs nvcc and a C++ compiler, but no GPU."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from curope.cuda_library import SOURCES, cache_folder, library_name

logger = logging.getLogger(__name__)

Flags: TypeAlias = list[str | Path]
TORCH = Path(torch.__file__).resolve().parent


def _wheel_folders(name: str) -> list[Path]:
    """The folders of this name in NVIDIA's Python packages, which PyTorch's wheel depends on."""
    return sorted(folder for folder in TORCH.parent.glob(f"nvidia/*/{name}") if folder.is_dir())


def _nvcc_candidates() -> Iterator[Path]:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if root := os.environ.get(variable):
            yield Path(root) / "bin" / "nvcc"
    if on_path := shutil.which("nvcc"):
        # A compiler's launcher may be a script or a link outside its toolkit: cudart then lies elsewhere.
        yield Path(on_path).resolve()
    yield Path("/usr/local/cuda/bin/nvcc")
    yield from (folder / "nvcc" for folder in _wheel_folders("bin"))


def find_nvcc() -> Path:
    """The CUDA compiler: of $CUDA_HOME or $CUDA_PATH, on the PATH, in /usr/local/cuda, or a Python package's.

    Raises:
        FileNotFoundError: there is none.
    """
    for nvcc in _nvcc_candidates():
        if nvcc.is_file():
            return nvcc
    raise FileNotFoundError(
        "no nvcc: install the CUDA toolkit (then set CUDA_HOME, or put nvcc on the PATH) or the Python "
        "package nvidia-cuda-nvcc; without it curope works all the same, through Triton or plain PyTorch"
    )


def _toolkit_root(nvcc: Path) -> Path:
    """Where nvcc's own toolkit lies, asked of nvcc itself."""
    dry_run = subprocess.run(
        [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull], capture_output=True, text=True, check=False
    )
    for line in dry_run.stderr.splitlines():
        if line.startswith("#$ TOP="):
            return (nvcc.parent / line.removeprefix("#$ TOP=").strip()).resolve()
    return nvcc.parent.parent


def _runtime_library(toolkit: Path) -> Path:
    """``libcudart``, PyTorch's own first: at run time it is loaded already.

    Raises:
        FileNotFoundError: there is none.
    """
    folders = [*_wheel_folders("lib"), toolkit / "lib64", toolkit / "lib"]
    for folder in folders:
        for library in (*sorted(folder.glob("libcudart.so.*")), folder / "libcudart.so"):
            if library.exists():
                return library
    raise FileNotFoundError(f"no libcudart.so in any of: {', '.join(map(str, folders))}")


def _run(command: Sequence[str | Path]) -> None:
    logger.info("%s", " ".join(map(str, command)))
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed ({done.returncode}):\n{done.stdout}{done.stderr}")


def _require_cuda_on_linux() -> None:
    if torch.version.cuda is None:
        raise RuntimeError(f"PyTorch {torch.__version__} is without CUDA: there is nothing to build for")
    if sys.platform != "linux":
        raise RuntimeError(f"expected Linux, got {sys.platform}: the CUDA back end is built on Linux only")


def _host_flags(toolkit: Path) -> Flags:
    """The toolkit's headers first, those of PyTorch's NVIDIA packages after all others."""
    flags: Flags = ["-fPIC", f"-ffile-prefix-map={SOURCES}=csrc"]
    flags += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    flags += ["-I", toolkit / "include", "-isystem", TORCH / "include"]
    for folder in _wheel_folders("include"):
        flags += ["-idirafter", folder]
    return flags


def build(output: Path | None = None, *, architectures: str = "all-major") -> Path:
    """Compile the sources of ``csrc`` into a library that ``curope`` finds and loads.

    nvcc compiles the kernel and reads no PyTorch header; the host compiler compiles the operator: so an nvcc
    that is older than PyTorch's NVIDIA packages works too.

    Args:
        output: the folder; None: the per-user cache, where curope looks. The variable CUROPE_LIBRARY names
            a library that lies elsewhere.
        architectures: nvcc's ``-arch``: "all-major" (any GPU), "native" (this machine's), "sm_90", ...

    Returns:
        The library.

    Raises:
        FileNotFoundError: no compiler or no CUDA runtime.
        RuntimeError: PyTorch is without CUDA, or a compiler failed; the message holds its output.
    """
    _require_cuda_on_linux()
    nvcc, compiler = find_nvcc(), os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"no C++ compiler {compiler!r}: install one or name it in CXX")
    toolkit = _toolkit_root(nvcc)
    folder = output or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    common: Flags = ["-O3", "-std=c++20", "-c"]
    device: Flags = [f"-arch={architectures}", "-ccbin", compiler, "-Xcompiler", "-fPIC"]
    libraries: Flags = ["-L", TORCH / "lib", "-lc10", "-lc10_cuda", "-ltorch_cpu", _runtime_library(toolkit)]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        kernel, operator, library = scratch / "kernel.o", scratch / "operator.o", scratch / "library.so"
        _run([nvcc, *common, *device, SOURCES / "rope2d_kernel.cu", "-o", kernel])
        _run([compiler, *common, *_host_flags(toolkit), SOURCES / "rope2d_operator.cpp", "-o", operator])
        _run([compiler, "-shared", kernel, operator, "-o", library, *libraries])
        library.replace(folder / library_name())
    return folder / library_name()


def main() -> None:
    """The command ``python -m curope.build``."""
    parser = argparse.ArgumentParser(prog="python -m curope.build", description=__doc__)
    parser.add_argument("--output", type=Path, help="folder for the library (default: the per-user cache)")
    parser.add_argument(
        "--arch", default="all-major", help="nvcc -arch: all-major, native, sm_90 (default: %(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="log the compilers' command lines")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING, format="%(message)s")
    try:
        library = build(arguments.output, architectures=arguments.arch)
    except (OSError, RuntimeError) as error:
        sys.exit(f"curope.build: {error}")
    sys.stdout.write(f"{library}\n")


if __name__ == "__main__":
    main()
