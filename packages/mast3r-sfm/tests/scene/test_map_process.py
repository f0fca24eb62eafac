"""COLMAP in a process of its own: the same models, the same errors, and it ends when it should."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import InputError, Mast3rError
from mast3r_sfm.colmap import map_process
from mast3r_sfm.colmap.network_mapping import ColmapOptions, map_with_colmap
from mast3r_sfm.known_cameras import KnownCameras
from mast3r_sfm.photos import ImageSet, SourceImage
from mast3r_sfm.scene import PointCloud, Scene, Tracks


class StopError(Exception):
    """Raised out of a bar."""


@contextmanager
def quiet(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda steps: None


@pytest.fixture(scope="module")
def images(matched: Any) -> ImageSet:
    return ImageSet(
        tuple(
            SourceImage(image.name, Path(image.name), image.color, image.transform, image.name)
            for image in matched.images
        )
    )


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that were started."""
    started: list[Any] = []
    popen = subprocess.Popen

    def noted(*arguments: Any, **keywords: Any) -> Any:
        started.append(popen(*arguments, **keywords))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    return started


@pytest.mark.parametrize("mapper", ["colmap", "glomap"])
@pytest.mark.parametrize("posed", [False, True])
def test_the_same_as_in_this_process(
    mapper: Any, posed: bool, images: ImageSet, matched: Any, processes: list[Any]
) -> None:
    truth = Scene(matched.images, PointCloud.empty(), Tracks.empty()).cameras()
    known = KnownCameras(intrinsics=truth, poses=truth.subset(range(2)) if posed else None)
    options = ColmapOptions(threads=1, mapper=mapper)

    def run(progress: Any) -> Any:
        return map_with_colmap(images, matched.pairs, known=known, options=options, progress=progress)

    if mapper == "glomap" and posed:
        for progress in (None, quiet):
            with pytest.raises(InputError, match="cannot keep known poses") as caught:
                run(progress)
            assert caught.value.hint == "use --mapper colmap or sparse"
    else:
        (here,), (there,) = run(None).groups, run(quiet).groups
        assert here.numbers == there.numbers
        np.testing.assert_array_equal(here.cam2world, there.cam2world)
        np.testing.assert_array_equal(here.intrinsics, there.intrinsics)
        np.testing.assert_array_equal(here.tracks.positions, there.tracks.positions)
        np.testing.assert_array_equal(here.tracks.xy, there.tracks.xy)
        np.testing.assert_array_equal(here.tracks.colors, there.tracks.colors)
    (process,) = processes
    assert process.poll() is not None


@pytest.mark.parametrize("stage", ["verifying geometry", "glomap mapper"])
def test_stopped(stage: str, images: ImageSet, matched: Any, processes: list[Any]) -> None:
    @contextmanager
    def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        if description == stage:
            raise StopError
        yield lambda steps: None

    with pytest.raises(StopError):
        map_with_colmap(
            images, matched.pairs, options=ColmapOptions(threads=1, mapper="glomap"), progress=progress
        )
    (process,) = processes
    assert process.returncode == -signal.SIGKILL


def test_nothing_placed_is_no_error(images: ImageSet) -> None:
    assert map_with_colmap(images, {}, options=ColmapOptions(threads=1), progress=quiet).groups == ()


def test_a_process_that_dies_is_named(
    images: ImageSet, matched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Mast3rError, match="COLMAP's process ended with code 1"):
        map_with_colmap(images, matched.pairs, options=ColmapOptions(threads=1), progress=quiet)


def test_it_imports_no_torch() -> None:
    code = f"import sys, {map_process.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """The end of stdin is the end of the parent."""
    code = (
        f"import time; import {map_process.__name__} as process\n"
        "process.solve_database = lambda *given: (given[-1]('verified'), time.sleep(1000))\n"
        "process._main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write('{"database": "", "scratch": "", "options": {}, "posed": null}\n')
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == {"event": "verified"}
        child.stdin.close()
        assert child.wait(60) == 1
