"""``mast3r doctor``: what is installed, what would be used and why, and whether it works."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Mapping

import click

from mast3r_model.errors import Mast3rError, PluginError
from mast3r_model.plugins import plugin_manager, registry

from .cache import cache_folder
from .command import command
from .context import CommandContext
from .documents import versions
from .parameters import option
from .settings import user_settings_file

MODULES = {
    "triton": "fused GPU kernels",
    "pillow_heif": "HEIC photos (pip install mast3r-model[heic])",
    "cv2": "homographies, RANSAC",
    "matplotlib": "pictures of matches",
    "tensorboard": "training curves",
    "pycolmap": "COLMAP's and GLOMAP's mappers, bundle adjustment",
    "poselib": "poses of photos in a map",
    "gradio": "the web page (mast3r demo)",
    "viser": "mast3r view (pip install mast3r-sfm[viewer])",
    "ray": "several machines (pip install mast3r-sfm[ray])",
}
PROGRAMS = {"nvcc": "builds the CUDA back end of curope"}


@command("doctor", examples=["mast3r doctor", "mast3r doctor --json > report.json"])
@option(
    "--self-test/--no-self-test",
    default=True,
    section="Model and device",
    help="Run the built-in checkpoint once.",
)
def doctor(context: CommandContext, self_test: bool) -> None:
    """Versions, devices, back ends, caches, optional tools, and a self-test; --json is for bug reports."""
    report: dict[str, Mapping[str, object]] = {
        "versions": versions(),
        "system": {
            "os": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "torch built for": _torch_build(),
        },
        "devices": _devices(),
        "rotary embedding": _rotary_embedding(),
        "plugins": _plugins(),
        "caches": {"downloads": cache_folder(), "settings": user_settings_file()},
        "optional": _optional(),
    }
    for heading, facts in report.items():
        _show(context, heading, facts)
        context.result({heading.replace(" ", "_"): facts})
    if self_test:
        outcome = run_self_test()
        _show(context, "self-test", outcome)
        context.result(self_test=outcome)
        if outcome["state"] == "failed":
            context.partial(f"the self-test failed: {outcome['reason']}")
            return
    context.note("next: mast3r quickstart")


def run_self_test(name: str = "nano") -> dict[str, object]:
    """Load a checkpoint and predict one pair of noise.

    Returns:
        ``state`` ("passed" or "failed"), and ``reason`` or what was used and the seconds it took.
    """
    import torch

    from mast3r_model import load_model

    try:
        started = time.perf_counter()
        model = load_model(name)
        loaded = time.perf_counter()
        noise = torch.rand(2, 3, 128, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
        prediction = next(iter(model.decode_pairs(model.encode(list(noise)), [(0, 1)])))
    except Mast3rError as error:
        return {"state": "failed", "reason": error.message}
    except Exception as error:
        return {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
    if not torch.isfinite(prediction.pts3d1).all():
        return {"state": "failed", "reason": "the predicted points are not finite"}
    precision = model.precision
    return {
        "state": "passed",
        "model": name,
        "device": str(precision.device) if precision else "cpu",
        "dtype": precision.name if precision else "fp32",
        "load_seconds": round(loaded - started, 3),
        "predict_seconds": round(time.perf_counter() - loaded, 3),
    }


def _torch_build() -> str:
    import torch

    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"


def _devices() -> dict[str, object]:
    import torch

    from mast3r_model.device import available_devices, resolve_precision

    found: dict[str, object] = {}
    for name in available_devices():
        found[name] = f"torch uses {torch.get_num_threads()} of {os.cpu_count()} CPUs"
        if name.startswith("cuda"):
            properties = torch.cuda.get_device_properties(name)
            found[name] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    precision = resolve_precision()
    found["used by default"] = f"{precision.device}, {precision.name}"
    return found


def _rotary_embedding() -> dict[str, object]:
    import curope

    report = curope.backend()
    found: dict[str, object] = {"used": report.name, "because": report.reason}
    return {**found, **{f"{name} usable": str(state) for name, state in report.available.items()}}


def _plugins() -> dict[str, object]:
    for kind in ("heads", "models", "commands"):
        try:
            registry(kind)
        except PluginError as error:
            return {"conflict": str(error)}
    return {plugin.name: plugin.error or f"works, {plugin.version}" for plugin in plugin_manager().plugins}


def _optional() -> dict[str, object]:
    modules = {
        name: f"{'yes' if importlib.util.find_spec(name) else 'no'}: {purpose}"
        for name, purpose in MODULES.items()
    }
    programs = {
        name: f"{'yes' if shutil.which(name) else 'no'}: {purpose}" for name, purpose in PROGRAMS.items()
    }
    return {**modules, **programs}


def _show(context: CommandContext, heading: str, facts: Mapping[str, object]) -> None:
    context.say(click.style(heading, bold=True))
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        context.say(f"  {name:<{width}}  {value}")
    context.say()
