"""Saving and loading scenes, and what happens when that fails."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError, OutputError, PluginError, hookimpl, temporary_plugin
from mast3r_sfm.exports.colmap_model import write_colmap
from mast3r_sfm.exports.depth_maps import write_depth_maps
from mast3r_sfm.exports.glb import write_glb
from mast3r_sfm.exports.nerfstudio import write_nerfstudio
from mast3r_sfm.exports.ply import write_ply
from mast3r_sfm.scene import Exporter, PointCloud, Scene, SceneImage, Tracks

ALL = (write_colmap, write_nerfstudio, write_glb, write_ply, partial(write_depth_maps, original_size=False))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_scene_comes_back_as_it_was(scene: Scene, tmp_path: Path) -> None:
    scene.save(tmp_path / "scene", formats=())
    loaded = Scene.load(tmp_path / "scene")
    for before, after in zip(scene.images, loaded.images, strict=True):
        for name, value in vars(before).items():
            np.testing.assert_array_equal(getattr(after, name), value)
    for name in ("positions", "colors", "confidence", "components"):
        np.testing.assert_array_equal(getattr(loaded.points, name), getattr(scene.points, name))
    for name, value in vars(scene.tracks).items():
        np.testing.assert_array_equal(getattr(loaded.tracks, name), value)
    assert loaded.dropped == scene.dropped
    assert loaded.report == scene.report


def test_an_empty_scene_can_be_saved(tmp_path: Path) -> None:
    Scene((), PointCloud.empty(), Tracks.empty()).save(tmp_path, formats=ALL)
    assert Scene.load(tmp_path).images == ()


def test_all_formats_by_group(scene: Scene, tmp_path: Path) -> None:
    written = scene.save(tmp_path / "scene", formats=ALL)
    found = files(tmp_path / "scene")
    assert {path.relative_to(tmp_path / "scene").as_posix() for path in written} == found
    assert {"scene.safetensors", "report.json", "scene.glb", "scene_1.glb", "points.ply"} <= found
    assert {"transforms.json", "transforms_1.json", "sparse/0/cameras.bin", "sparse/1/points3D.bin"} <= found
    assert "depth/network/set 0/photo_0.jpg.tiff" in found


class CentresPlugin:
    """The example of docs/plugins.md."""

    @hookimpl
    def mast3r_exporters(self) -> dict[str, object]:
        def write_centres(scene: Scene, folder: Path) -> list[Path]:
            path = folder / "centres.txt"
            np.savetxt(path, [image.cam2world[:3, 3] for image in scene.images])
            return [path]

        return {"centres": write_centres}


def test_formats_of_plugins(scene: Scene, tmp_path: Path) -> None:
    with temporary_plugin(CentresPlugin(), "centres"):
        scene.save(tmp_path, formats=["centres"])
        assert np.loadtxt(tmp_path / "centres.txt").shape == (5, 3)
        with pytest.raises(PluginError, match="centers"):
            scene.save(tmp_path, formats=["centers"])


def test_files_of_another_scene_go_and_foreign_ones_stay(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    scene.save(tmp_path, formats=(write_ply,))
    scene.save(tmp_path, formats=(write_colmap,))
    assert {"points.ply", "sparse/0/cameras.bin", "mine.txt"} <= files(tmp_path)  # the same scene: both stay
    replace(scene, images=scene.images[:1], tracks=Tracks.empty()).save(tmp_path, formats=(write_ply,))
    assert {"points.ply", "mine.txt"} <= files(tmp_path)
    assert not (tmp_path / "sparse").exists()


def test_the_folder_of_photos_follows(scene: Scene, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    replace(scene, image_folder=str(photos)).save(tmp_path / "out" / "scene", formats=(write_nerfstudio,))
    assert '"../../photos/set 0/photo_0.jpg"' in (tmp_path / "out" / "scene" / "transforms.json").read_text()
    assert Scene.load(tmp_path / "out" / "scene").image_folder == str(photos)


def failing(scene: Scene, folder: Path) -> list[Path]:
    (folder / "half.txt").write_text("half")
    raise OSError(28, "No space left on device")


def test_nothing_is_left_of_a_save_that_failed(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space"):
        scene.save(tmp_path / "new", formats=(write_ply, failing))
    assert not (tmp_path / "new").exists()
    scene.save(tmp_path / "old", formats=(write_ply,))
    before = {path: (tmp_path / "old" / path).read_bytes() for path in files(tmp_path / "old")}
    with pytest.raises(OutputError, match="No space"):
        replace(scene, images=scene.images[:1]).save(tmp_path / "old", formats=(failing,))
    assert {path: (tmp_path / "old" / path).read_bytes() for path in files(tmp_path / "old")} == before


def test_a_file_in_place_of_the_folder(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "scene").write_text("no folder")
    with pytest.raises(OutputError):
        scene.save(tmp_path / "scene", formats=())
    assert (tmp_path / "scene").read_text() == "no folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(scene: Scene, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="denied"):
        scene.save(tmp_path, formats=())


def test_what_is_left_of_a_killed_save_is_cleared(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / ".saving").mkdir()
    (tmp_path / ".saving" / "half.bin").write_text("half")
    scene.save(tmp_path, formats=())
    assert not (tmp_path / ".saving").exists()


def test_loading_something_else_is_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no scene"):
        Scene.load(tmp_path)
    (tmp_path / "scene.safetensors").write_bytes(b"not ours")
    with pytest.raises(InputError, match="broken"):
        Scene.load(tmp_path)
    scene.save(tmp_path, formats=())
    whole = (tmp_path / "scene.safetensors").read_bytes()
    (tmp_path / "scene.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="broken"):
        Scene.load(tmp_path)


def test_maps_of_another_size_are_refused(scene: Scene) -> None:
    image = scene.images[0]
    with pytest.raises(InputError, match="depth"):
        SceneImage(**{**vars(image), "depth": image.depth[:-1]})


def test_points_of_a_group(scene: Scene) -> None:
    first, second = scene.components()
    assert [len(first.images), len(second.images)] == [3, 2]
    assert len(first.points) + len(second.points) == len(scene.points)
    assert len(first.tracks) + len(second.tracks) == len(scene.tracks)
    assert second.tracks.image.max() == 1


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more than so many bytes into a file fails, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("export", [None, write_colmap, write_glb, write_ply, write_depth_maps])
def test_a_disk_that_is_full(scene: Scene, tmp_path: Path, export: Exporter | None) -> None:
    formats = () if export is None else (export,)
    with files_of_at_most(1500), pytest.raises(OutputError):
        scene.save(tmp_path / "out", formats=formats)
    assert not (tmp_path / "out").exists()
