"""How near reconstructed cameras come to the truth, for a network that knows it (up to set errors).

    python benchmarks/oracle_scenes.py                                    # the whole table, an hour
    python benchmarks/oracle_scenes.py --views 8 --paths orbit --seeds 1  # two minutes
    python benchmarks/oracle_scenes.py --network nano --views 8
    python benchmarks/oracle_scenes.py --views 8 --noise focal=0.05,shared=1 --methods lm lm-free

Photos are rendered (`mast3r_train.synthetic.render_scene_views`), written as PNG and go the whole way of
`reconstruct`; only the network is replaced by `OracleNetwork`, which recognises the photos and answers with
their true pointmaps plus `OracleNoise`. The same from Python::

    from mast3r_sfm import compare_cameras, read_cameras, reconstruct
    from mast3r_train.synthetic import OracleNetwork, OracleNoise, render_scene_views

    views = render_scene_views(seed=0, views=8, path="orbit", shape=(240, 320))
    photos = views.save("scene")                       # scene/images/*.png, scene/transforms.json
    network = OracleNetwork(views, OracleNoise.realistic())
    scene = reconstruct(photos, network, size=320, cache="scene/cache")
    compare_cameras(scene.components()[0].cameras(), read_cameras("scene")).focal_error_mean

Noise: ``exact`` (matches are still rounded to pixels), ``realistic``, or fields of `OracleNoise`. Methods:
``lm`` (default priors), ``lm-free`` (`LmOptions.without_priors`), ``adam``; and, if
asked for, with wide priors or one camera for all. ``refine`` is off everywhere. The
predictions of a scene are computed once, by the first method. Prints a table (Markdown), a mean over seeds;
``--json FILE`` keeps every run. "network" is pairs, predictions and matching; "align" the solver.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from mast3r_model import Mast3rError, load_model
from mast3r_sfm import LmOptions, ReconstructionOptions, Scene, compare_cameras, read_cameras, reconstruct
from mast3r_train.synthetic import OracleNetwork, OracleNoise, SceneViews, render_scene_views

METHODS: dict[str, dict[str, Any]] = {
    "lm": {"solver": "lm"},
    "lm-free": {"solver": "lm", "align": LmOptions.without_priors()},
    "adam": {"solver": "adam"},
    "lm-wide": {"align": LmOptions(log_focal_sigma=0.3, depth_sigma=0.2)},
    "lm-wide-shared": {
        "align": LmOptions(log_focal_sigma=0.3, depth_sigma=0.2),
        "shared_intrinsics": True,
    },
    "lm-shared": {"shared_intrinsics": True},
    "lm-ba": {"refine": "auto"},
    "lm-shared-ba": {"shared_intrinsics": True, "refine": "auto"},
}
DEFAULT_METHODS = ("lm", "lm-free", "adam")
NETWORK_STAGES = ("pairs", "predictions", "canonical views")


@dataclass(frozen=True)
class Case:
    """One scene for one network."""

    path: str
    views: int
    noise: str
    seed: int
    graph: str


@dataclass(frozen=True)
class Result:
    """Errors of one reconstruction: degrees, shares; seconds; MiB."""

    registered: float
    rotation: float
    center: float
    focal: float
    focal_bias: float
    scale: float
    rra5: float
    rta5: float
    maa30: float
    network_seconds: float
    align_seconds: float
    peak_mib: float


def noise_of(text: str) -> OracleNoise:
    """From the command line."""
    if text in ("exact", "realistic"):
        return OracleNoise() if text == "exact" else OracleNoise.realistic()
    return OracleNoise(
        **{name: float(value) for name, value in (part.split("=") for part in text.split(","))}
    )


def default_graph(views: int) -> str:
    """Complete for few views, else a window: photos of a path are in order."""
    return "complete" if views <= 10 else "swin-3-noncyclic"


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """All scenes to reconstruct."""
    for views, path, noise, seed in itertools.product(
        options.views, options.paths, options.noise, range(options.seeds)
    ):
        yield Case(path, views, noise, seed, options.graph or default_graph(views))


def run_case(case: Case, methods: list[str], network: str, shape: tuple[int, int]) -> dict[str, Result]:
    """Reconstruct one scene by every method; methods that fail are left out."""
    views = render_scene_views(case.seed, case.views, path=cast(Any, case.path), shape=shape)
    model: Any = OracleNetwork(views, noise_of(case.noise)) if network == "oracle" else load_model(network)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = views.save(folder)
        for method in methods:
            if method == "adam" and case.views > 8:
                continue
            how = ReconstructionOptions(graph=case.graph, **({"refine": "none"} | METHODS[method]))
            try:
                scene = reconstruct(photos, model, size=max(shape), cache=f"{folder}/cache", options=how)
            except Mast3rError as error:
                print(f"{case} {method}: {error}", flush=True)  # noqa: T201
                continue
            results[method] = measure(scene, views, Path(folder))
    return results


def measure(scene: Scene, views: SceneViews, truth_folder: Path) -> Result:
    """Compare the largest group of connected photos with the truth."""
    truth = read_cameras(truth_folder)
    found = max(scene.components(), key=lambda part: len(part.images)).cameras()
    errors = compare_cameras(found, truth)
    places = [int(Path(name).stem) for name in found.names]
    ratio = found.intrinsics[:, 0, 0] / views.intrinsics[places, 0, 0]
    stages = {stage["name"]: stage for stage in scene.report["stages"]}
    return Result(
        registered=errors.registered,
        rotation=errors.rotation_error_mean,
        center=errors.ate_relative,
        focal=errors.focal_error_mean,
        focal_bias=float(np.log(ratio).mean()),
        scale=errors.scale,
        rra5=errors.rra[5],
        rta5=errors.rta[5],
        maa30=errors.maa30,
        network_seconds=sum(stages[name]["seconds"] for name in NETWORK_STAGES),
        align_seconds=stages["alignment"]["seconds"],
        peak_mib=max(stage["peak_bytes"] for stage in stages.values()) / 2**20,
    )


HEADER = (
    "| path | views | noise | method | rotation, deg | centre, % | focal, % | focal bias, % | scale | RRA@5 "
    "| RTA@5 | mAA(30) | registered | network s | align s | peak MiB |\n" + "|---" * 16 + "|"
)


def row(key: tuple[str, int, str], method: str, results: list[Result]) -> str:
    """A line of the table: means over seeds."""
    mean = {field.name: float(np.mean([getattr(r, field.name) for r in results])) for field in fields(Result)}
    seconds = [r.network_seconds for r in results]
    network = f"{np.mean(seconds):.1f}" if method == "lm" else ""
    cells = [
        *map(str, key), method, f"{mean['rotation']:.3f}", f"{100 * mean['center']:.3f}",
        f"{100 * mean['focal']:.2f}", f"{100 * mean['focal_bias']:+.2f}", f"{mean['scale']:.3f}",
        f"{mean['rra5']:.3f}", f"{mean['rta5']:.3f}", f"{mean['maa30']:.3f}", f"{mean['registered']:.2f}",
        network, f"{mean['align_seconds']:.1f}", f"{mean['peak_mib']:.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Reconstruct and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="oracle", help="oracle, or a model's name")
    parser.add_argument("--views", type=int, nargs="+", default=[8, 20, 60])
    parser.add_argument("--paths", nargs="+", default=["orbit", "walk"])
    parser.add_argument("--noise", nargs="+", default=["exact", "realistic"])
    parser.add_argument("--methods", nargs="+", default=DEFAULT_METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--graph", help="default: complete up to 10 views, swin-3-noncyclic above")
    parser.add_argument("--size", type=int, nargs=2, default=[160, 112], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.network != "oracle":
        options.noise = ["exact"]
    print(HEADER, flush=True)  # noqa: T201
    runs: list[dict[str, object]] = []
    for key, group in itertools.groupby(cases(options), lambda case: (case.path, case.views, case.noise)):
        by_method: dict[str, list[Result]] = {}
        for case in group:
            started = time.monotonic()
            results = run_case(case, options.methods, options.network, (options.size[1], options.size[0]))
            for method, result in results.items():
                by_method.setdefault(method, []).append(result)
                runs.append({**asdict(case), "network": options.network, "method": method, **asdict(result)})
            if options.json:
                options.json.write_text(json.dumps(runs, indent=1), encoding="utf-8")
                print(f"<!-- {case}: {time.monotonic() - started:.0f} s -->", flush=True)  # noqa: T201
        for method, results in by_method.items():
            print(row(key, method, results), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
