"""``mast3r data prepare dl3dv``: to `DL3DV`'s folder (spec 41 section 14).

The release has no depth. It comes from runs of COLMAP's dense reconstruction (``--depth``) or from a folder
in the loader's layout (``--import``). Without either, photos and cameras are made, and the lack is reported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import click

from mast3r_model import InputError
from mast3r_model.cli import option
from mast3r_train.datasets.dl3dv import DL3DV, DL3DVFolder
from mast3r_train.datasets.dl3dv_labels import FILE_NAME, write_labels
from mast3r_train.datasets.files import missing_layout

from .commands import prepare_command
from .dl3dv_depth import find_depth
from .dl3dv_frames import FrameJob, ImportJob, make_frame, make_imported
from .dl3dv_page import count_by_light, read_page
from .dl3dv_release import read_scene
from .framework import Frame, Preparation, PrepareRequest
from .posed_preparation import posed_preparation

LOGGER = logging.getLogger("mast3r.train")

NO_DEPTH = (
    "the DL3DV release has photos and poses but no depth: give --depth DIR, a folder <subset>/<hash> of "
    "COLMAP's dense reconstructions (sparse, stereo/depth_maps), or --import DIR, a folder in the loader's "
    "layout"
)


def plan(request: PrepareRequest) -> Preparation:
    """The frames of all scenes, of the release or of a folder to import.

    Raises:
        InputError: there is no scene, the page of labels cannot be read, or options contradict each other.
    """
    depth, source = request.options.get("depth"), request.options.get("import_from")
    if depth is not None and source is not None:
        raise InputError("give --import or --depth, not both")
    page = request.options.get("labels")
    labels = read_page(page) if page is not None else None
    folder = DL3DVFolder(request.out)
    frames = (
        _imported(DL3DVFolder(source), folder)
        if source is not None
        else _released(request.raw, depth, folder)
    )

    def lists() -> None:
        if labels is not None:
            write_labels(request.out / FILE_NAME, labels)
            LOGGER.info("labels of %s scenes: %s", f"{len(labels):,}", count_by_light(labels))
        if depth is None and source is None:
            LOGGER.warning("%s", NO_DEPTH)

    def missing() -> Iterator[str]:
        if depth is not None or source is not None:
            return
        for scene in folder.scenes():
            absent = [frame for frame in folder.frames(scene) if not folder.files(scene, frame)[1].is_file()]
            if absent:
                yield f"{scene}/dense/depth/{absent[0]}.npy and {len(absent) - 1} more of this scene"

    return posed_preparation(
        "DL3DV", folder, DL3DV.pairs_file, frames, make, request, lists=lists, missing=missing
    )


def make(job: FrameJob | ImportJob) -> None:
    """Make one frame.

    Raises:
        SampleError: a file is missing or broken.
    """
    if isinstance(job, FrameJob):
        make_frame(job)
    else:
        make_imported(job)


def _released(raw: Path, depth: Path | None, folder: DL3DVFolder) -> list[Frame]:
    paths = sorted(raw.glob("[!.]*/*/transforms.json"))
    if not paths:
        raise missing_layout(
            "DL3DV",
            raw,
            "1K/<hash>/transforms.json",
            "--raw is the folder in which the subsets 1K to 11K are unzipped",
        )
    frames: list[Frame] = []
    for path in paths:
        scene = path.parent.relative_to(raw).as_posix()
        try:
            released = read_scene(path.parent)
            maps = find_depth(depth, scene, released.poses) if depth is not None else None
        except InputError as error:
            frames.append(Frame.broken(scene, error.message))
            continue
        if maps is not None and len(maps) < len(released.photos):
            lacking = len(released.photos) - len(maps)
            LOGGER.warning("%s: %d frames have no depth map and are left out", scene, lacking)
        for name, photo in released.photos.items():
            if maps is not None and name not in maps:
                continue
            files = folder.files(scene, name)
            # With depth, that is written last: frames that were made without it are made again.
            marker = files[2] if maps is None else files[1]
            own = maps[name] if maps is not None else None
            job = FrameJob(photo, released.lens, released.poses[name], own, files)
            frames.append(Frame(f"{scene}/{name}", marker, job))
    return frames


def _imported(source: DL3DVFolder, folder: DL3DVFolder) -> list[Frame]:
    scenes = source.scenes()
    if not scenes:
        raise missing_layout(
            "DL3DV", source.root, "1K/<hash>/dense/cam", "--import is a folder in that layout"
        )
    return [
        Frame(f"{scene}/{name}", folder.files(scene, name)[2], ImportJob(source, folder, scene, name))
        for scene in scenes
        for name in source.frames(scene)
    ]


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

prepare = prepare_command(
    "dl3dv",
    plan,
    help="DL3DV-10K, with depth from elsewhere, to the folder of DL3DV.",
    raw="Folder in which the subsets 1K to 11K are unzipped.",
    example="--depth RUNS --labels PAGE",
    options=(
        option(
            "--depth",
            type=_FOLDER,
            section="Data",
            help="Folder <subset>/<hash> of COLMAP's dense reconstructions (sparse, stereo/depth_maps).",
        ),
        option(
            "import_from",
            "--import",
            type=_FOLDER,
            section="Data",
            help="Folder with depth in the loader's layout, which is checked and copied; --raw is not read.",
        ),
        option(
            "--labels",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            section="Data",
            help="The dataset's page of labels, saved as HTML, Markdown or CSV; for split='nlight'.",
        ),
    ),
)
