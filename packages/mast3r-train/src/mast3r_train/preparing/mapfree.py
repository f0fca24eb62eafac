"""``mast3r data prepare mapfree``: to `NianticMapFree`'s folder (spec 41 section 13).

The release has no depth. It comes from a folder in the loader's layout (``--import``), whose scale is brought
to the release's metres, or is computed here (``--depth colmap``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import click

from mast3r_model import InputError
from mast3r_model.cli import option
from mast3r_train.datasets.files import missing_layout
from mast3r_train.datasets.nianticmapfree import NianticMapFree, NianticMapFreeFolder, split_of

from .colmap_depth import require_stereo
from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .mapfree_import import ImportJob, import_jobs, make_imported
from .mapfree_release import read_release_scene
from .mapfree_stereo import StereoJob, make_stereo, stereo_jobs
from .pose_alignment import Alignment
from .posed_preparation import posed_preparation
from .saving import save_copy, save_json

_NO_DEPTH = (
    "the Map-free release has photos and poses but no depth: give --import DIR, a folder of such depth in "
    "the loader's layout (s00000/dense0/{rgb,depth,cam,sky_mask}), or --depth colmap, which computes it with "
    "a pycolmap that has CUDA"
)


def plan(request: PrepareRequest) -> Preparation:
    """The scenes of the parts ``train`` and ``val`` that are there.

    Raises:
        InputError: there is no scene, or no way to depth.
    """
    source, depth = request.options.get("import_from"), request.options.get("depth")
    if (source is None) == (depth is None):
        raise InputError(_NO_DEPTH if source is None else "give --import or --depth, not both")
    if depth is not None:
        require_stereo()
    scenes = [
        path.parent
        for part in ("train", "val")
        for path in sorted(request.raw.glob(f"{part}/s?????/poses.txt"))
        if split_of(path.parent.name) == part
    ]
    if not scenes:
        raise missing_layout(
            "NianticMapFree",
            request.raw,
            "train/s00000/poses.txt or val/s00460/poses.txt",
            "--raw is the folder in which train.zip and val.zip are unzipped",
        )
    folder = NianticMapFreeFolder(request.out)
    frames: list[Frame] = []
    factors: dict[str, Mapping[str, Alignment]] = {}
    for scene in scenes:
        try:
            if source is not None:
                released = read_release_scene(scene)
                jobs, factors[scene.name] = import_jobs(
                    NianticMapFreeFolder(source), folder, scene.name, released
                )
                frames += [Frame(f"{scene.name}/{job.frame}", job.marker, job) for job in jobs]
            else:
                stereo = stereo_jobs(scene, folder)
                frames += [Frame(f"{scene.name}/{job.name}", job.marker, job) for job in stereo]
        except InputError as error:
            frames.append(Frame.broken(scene.name, error.message))

    def lists() -> None:
        for scene in scenes:
            overlaps = scene / "overlaps.npz"
            if overlaps.is_file():
                save_copy(request.out / scene.name / overlaps.name, overlaps)
            if scene.name in factors:
                report = {key: _report(one) for key, one in factors[scene.name].items()}
                save_json(request.out / scene.name / "metric_scale.json", report)

    return posed_preparation(
        "NianticMapFree", folder, NianticMapFree.pairs_file, frames, make, request, lists=lists
    )


def make(job: ImportJob | StereoJob) -> None:
    """Make one frame, or all of a sequence.

    Raises:
        SampleError: a file is missing or broken, or COLMAP failed.
    """
    if isinstance(job, ImportJob):
        make_imported(job)
    else:
        make_stereo(job)


def _report(alignment: Alignment) -> dict[str, float]:
    stored = dataclasses.asdict(alignment)
    return {key: stored[key] for key in ("factor", "spread", "degrees")}


prepare = prepare_command(
    "mapfree",
    plan,
    help="Map-free, with depth from elsewhere, to the folder of NianticMapFree.",
    raw="Folder in which train.zip and val.zip are unzipped.",
    example="--import DEPTH",
    options=(
        option(
            "import_from",
            "--import",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            section="Data",
            help="Folder with depth in the loader's layout; its scale is brought to the release's metres.",
        ),
        option(
            "--depth",
            type=click.Choice(["colmap"]),
            section="Data",
            help="Compute depth with COLMAP's PatchMatch stereo; needs a pycolmap with CUDA.",
        ),
    ),
)
