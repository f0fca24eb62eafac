"""Hatch hook: CUROPE_BUILD_CUDA=1 compiles the CUDA back end while the wheel is made; else nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "CUROPE_BUILD_CUDA"


def requested() -> bool:
    """Whether the user asked for the CUDA back end."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


class CudaBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Put the library into ``curope/lib`` of the wheel; for an editable install, into the user's cache."""

    def dependencies(self) -> list[str]:
        """What an isolated build environment needs besides hatchling."""
        return ["torch>=2.7"] if requested() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, if asked; a failure stops the installation, because the user asked."""
        if self.target_name != "wheel" or not requested():
            return
        command = [sys.executable, "-m", "curope.build"]
        environment = os.environ | {"PYTHONPATH": str(Path(self.root) / "src")}
        if version == "editable":
            subprocess.run(command, env=environment, check=True)
            return
        # Hatch reads the file after this method has returned and calls finalize when the wheel is done.
        self._folder = tempfile.TemporaryDirectory(prefix="curope-")
        subprocess.run([*command, "--output", self._folder.name], env=environment, check=True)
        for library in Path(self._folder.name).glob("*.so"):
            build_data["force_include"][str(library)] = f"curope/lib/{library.name}"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the scratch folder."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()
