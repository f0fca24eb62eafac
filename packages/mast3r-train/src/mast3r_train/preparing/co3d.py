"""``mast3r data prepare co3d``: from CO3Dv2's archives to the folder of `Co3d` (spec 41 section 5)."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from mast3r_model.cli import option
from mast3r_train.datasets.files import missing_layout, read_mask, read_png16, read_rgb
from mast3r_train.errors import SampleError
from mast3r_train.geometry import crop_around_principal_point

from .co3d_annotations import FrameAnnotation, FrameKey, frame_annotations, good_sequences, listed_frames
from .commands import prepare_command
from .framework import Frame, Preparation, PrepareRequest
from .object_sequences import (
    SPLITS,
    ListedFrame,
    ObjectView,
    chosen_at_random,
    missing_files,
    write_lists,
)
from .raw_depth import known_depth
from .saving import save_jpeg, save_npz, save_png

LOGGER = logging.getLogger("mast3r.train")

_NAMES = """
apple backpack ball banana baseballbat baseballglove bench bicycle book bottle bowl broccoli cake car
carrot cellphone chair couch cup donut frisbee hairdryer handbag hotdog hydrant keyboard kite laptop
microwave motorcycle mouse orange parkingmeter pizza plant remote sandwich skateboard stopsign suitcase
teddybear toaster toilet toybus toyplane toytrain toytruck tv umbrella vase wineglass
"""

CATEGORIES = tuple(_NAMES.split())
"""In upstream's order: a category's place is part of its seed."""

NOT_IN_SUBSET = ("microwave", "stopsign", "tv")
"""Categories without a sequence in the single-sequence subset."""

SEED = 42
MOST_SEQUENCES = 50
"""Of a category and split."""

LARGEST_PNG = 65535

WORTH_A_PROCESS = 5_000_000
"""Bytes of annotations; reading them takes about as long as starting a process."""


@dataclass(frozen=True)
class _Job:
    """One frame; frames that are there already need no annotation."""

    raw: Path
    folder: Path
    number: int
    annotation: FrameAnnotation | None = None

    @property
    def image(self) -> Path:
        return self.folder / "images" / f"frame{self.number:06d}.jpg"

    @property
    def depth(self) -> Path:
        return self.folder / "depths" / f"{self.image.name}.geometric.png"

    @property
    def mask(self) -> Path:
        return self.folder / "masks" / f"{self.image.stem}.png"

    @property
    def camera(self) -> Path:
        return self.image.with_suffix(".npz")


def plan(request: PrepareRequest) -> Preparation:
    """The frames of the chosen sequences of each category that is there.

    Raises:
        InputError: no category is there, or one lacks its lists or annotations.
    """
    subset = bool(request.options.get("single_sequence_subset"))
    categories = _categories(request.raw, request.options.get("category") or (), subset)
    listed: list[ListedFrame] = []
    jobs: dict[Path, _Job] = {}
    sources: dict[Path, tuple[str, FrameKey]] = {}
    for category in categories:
        for split in SPLITS:
            for sequence, frames in _chosen(request.raw / category, split, subset).items():
                for number, annotated_as in frames.items():
                    job = _Job(request.raw, request.out / category / sequence, number)
                    jobs[job.camera] = job
                    listed.append(ListedFrame(split, category, sequence, number, job.camera))
                    sources[job.camera] = category, (sequence, annotated_as)
    waiting = [source for marker, source in sources.items() if not marker.exists()]
    annotations = _annotations(request, waiting)

    def frame(marker: Path, job: _Job) -> Frame:
        name = job.image.relative_to(request.out).as_posix()
        if marker.exists():
            return Frame(name, marker, job)
        found = annotations.get(sources[marker], "the annotations do not name it")
        if isinstance(found, str):
            return Frame.broken(name, found)
        return Frame(name, marker, replace(job, annotation=found))

    return Preparation(
        frames=[frame(marker, job) for marker, job in jobs.items()],
        make=make,
        finish=lambda: write_lists(request.out, listed, CATEGORIES),
        missing=lambda: missing_files(request.out, listed, lambda entry: _files(jobs[entry.marker])),
    )


def make(job: _Job) -> None:
    """Make one frame.

    Raises:
        SampleError: a raw file is missing or broken.
    """
    about = job.annotation
    assert about is not None
    if about.depth_scale != 1:
        raise SampleError(f"{about.depth}: scale_adjustment is {about.depth_scale}, expected 1")
    image = read_rgb(job.raw / about.image)
    depth, mask = read_png16(job.raw / about.depth), read_mask(job.raw / about.mask)
    view = ObjectView(image, depth, mask, about.intrinsics(image.size))
    view = view.cut_and_scaled(crop_around_principal_point, str(job.raw / about.image))
    # The 16 bits of each pixel are those of a half-precision number.
    z = known_depth(view.depth.view(np.float16).astype(np.float32))
    largest = z.max()
    share = z / largest if largest > 0 else z
    save_jpeg(job.image, view.image)
    save_png(job.depth, (share * LARGEST_PNG).astype(np.uint16))
    save_png(job.mask, view.mask)
    save_npz(
        job.camera,
        camera_intrinsics=view.intrinsics,
        camera_pose=about.cam2world(),
        maximum_depth=largest,
    )


def _files(job: _Job) -> Sequence[Path]:
    return job.image, job.depth, job.mask, job.camera


def _categories(raw: Path, wanted: Sequence[str], subset: bool) -> list[str]:
    known_names = [name for name in CATEGORIES if not (subset and name in NOT_IN_SUBSET)]
    asked = [name for name in known_names if name in wanted] if wanted else known_names
    there = [name for name in asked if (raw / name / "set_lists").is_dir()]
    absent = [name for name in asked if name not in there]
    if not there or (wanted and absent):
        hint = "--raw is the folder in which all of CO3Dv2's archives are unzipped"
        raise missing_layout("Co3d", raw, f"{(absent or CATEGORIES)[0]}/set_lists", hint)
    if absent:
        LOGGER.warning("%d of %d categories are not there: %s", len(absent), len(asked), ", ".join(absent))
    return there


def _chosen(category: Path, split: str, subset: bool) -> dict[str, dict[int, int]]:
    """Sequence -> its frames' numbers in file names -> in the annotations."""
    listed = listed_frames(category, "manyview_dev" if subset else "fewview_train", split)
    good = good_sequences(category)
    sequences = [sequence for sequence in listed if sequence in good]
    if len(sequences) >= MOST_SEQUENCES:
        seed = SEED + CATEGORIES.index(category.name)
        sequences = chosen_at_random(sequences, MOST_SEQUENCES, seed)
    return {sequence: listed[sequence] for sequence in sequences}


def _annotations(
    request: PrepareRequest, waiting: Sequence[tuple[str, FrameKey]]
) -> dict[tuple[str, FrameKey], FrameAnnotation | str]:
    """Annotations of the frames that are to be made; categories are read at the same time."""
    wanted: dict[str, dict[str, set[int]]] = {}
    for category, (sequence, number) in waiting:
        wanted.setdefault(category, {}).setdefault(sequence, set()).add(number)
    folders = [request.raw / category for category in wanted]
    size = sum(path.stat().st_size for folder in folders for path in folder.glob("frame_annotations.jgz"))
    workers = min(request.workers, len(folders), 1 + size // WORTH_A_PROCESS)
    LOGGER.info("reading the annotations of %d categories", len(folders))
    if workers <= 1:
        read = list(map(frame_annotations, folders, wanted.values()))
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            read = list(pool.map(frame_annotations, folders, wanted.values()))
    return {
        (category, key): annotation
        for category, of_category in zip(wanted, read, strict=True)
        for key, annotation in of_category.items()
    }


prepare = prepare_command(
    "co3d",
    plan,
    help="CO3Dv2, its archives unzipped, to the folder of Co3d.",
    raw="Folder in which all of CO3Dv2's archives are unzipped.",
    options=(
        option(
            "--category",
            type=click.Choice(CATEGORIES),
            metavar="NAME",
            multiple=True,
            section="Data",
            help="Only this category; may be repeated. What was prepared before stays listed.",
        ),
        option(
            "--single-sequence-subset",
            is_flag=True,
            section="Data",
            help="--raw is the release's subset of one sequence a category.",
        ),
    ),
)
