"""Numbers and names of old and new photos; which world a new photo belongs to."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_match import Correspondences
from mast3r_model import InputError
from mast3r_sfm import AdamOptions, ReconstructionOptions, Scene, extend_scene, open_images
from mast3r_sfm.extending import join_photos, network_size
from mast3r_sfm.extending.stored import has_depth, stored_matches, stored_view
from mast3r_sfm.extending.worlds import find_worlds
from mast3r_sfm.photos import ImageSet
from mast3r_sfm.scene import PointCloud, SceneImage, Tracks


def photo(path: Path, seed: int, size: tuple[int, int] = (100, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def scene_of(images: ImageSet, folder: Path | str) -> Scene:
    placed = tuple(
        SceneImage(
            name=image.name,
            original_shape=image.transform.original_shape,
            transform=image.transform,
            intrinsics=np.array([[90.0, 0, 50], [0, 90, 40], [0, 0, 1]]),
            cam2world=np.eye(4),
            depth=np.full(image.shape, 2.0),
            confidence=np.ones(image.shape),
            color=image.pixels,
        )
        for image in images
    )
    report = {"pairs": [{"image0": images.names[0], "image1": images.names[1], "matches": 9}]}
    return Scene(
        placed, PointCloud.empty(), Tracks.empty(), (), report, str(folder) and os.path.abspath(folder)
    )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    for number in range(2):
        photo(tmp_path / "trip" / "old" / f"{number}.png", number)
    folder = tmp_path / "trip" / "old"
    scene_of(open_images([folder], size=64), folder).save(tmp_path / "scene", formats=[])
    return Scene.load(tmp_path / "scene")


def test_the_same_folder_with_more_photos(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "trip" / "old"
    photo(folder / "2.png", 2)
    shutil.copy(folder / "0.png", folder / "copy.png")
    joined = join_photos(scene, open_images([folder], size=64, keep_duplicates=True))
    assert joined.images.names == ("0.png", "1.png", "2.png")
    assert list(joined.new) == [2]
    assert [drop.reason for drop in joined.images.dropped] == ["the same picture as 0.png"]
    read = open_images([folder], size=64)
    assert [image.digest for image in joined.images] == [image.digest for image in read]
    np.testing.assert_array_equal(joined.images[0].tensor(), read[0].tensor())


def test_names_grow_where_folders_differ(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "trip" / "new"
    photo(folder / "0.png", 7)
    joined = join_photos(scene, open_images([folder], size=64))
    assert joined.images.names == ("old/0.png", "old/1.png", "new/0.png")
    assert joined.scene.image_folder == str(tmp_path / "trip")
    assert joined.scene.report["pairs"][0]["image0"] == "old/0.png"
    assert all(image.path.is_file() for image in joined.images)


def test_a_photo_below_keeps_the_old_names(scene: Scene, tmp_path: Path) -> None:
    photo(tmp_path / "trip" / "old" / "more" / "a.png", 9)
    joined = join_photos(scene, open_images([tmp_path / "trip" / "old" / "more"], size=64))
    assert joined.images.names == ("0.png", "1.png", "more/a.png")


def test_an_old_photo_that_was_edited_is_not_taken_for_a_new_one(scene: Scene, tmp_path: Path) -> None:
    photo(tmp_path / "trip" / "old" / "1.png", 99)
    joined = join_photos(scene, open_images([tmp_path / "trip" / "old"], size=64))
    assert list(joined.new) == []
    assert joined.images.dropped[0].reason == "another picture of this name is in the scene already"


def test_photos_that_have_moved_are_known_by_their_content(scene: Scene, tmp_path: Path) -> None:
    shutil.move(tmp_path / "trip" / "old", tmp_path / "archive")
    photo(tmp_path / "archive" / "2.png", 5)
    joined = join_photos(scene, open_images([tmp_path / "archive"], size=64))
    assert len(joined.new) == 1
    assert joined.images.dropped == ()


def test_without_a_known_folder_names_must_differ(scene: Scene, tmp_path: Path) -> None:
    unknown = replace(scene, image_folder="")
    photo(tmp_path / "trip" / "new" / "0.png", 7)
    new = open_images([tmp_path / "trip" / "new"], size=64)
    with pytest.raises(InputError, match="two images are named"):
        join_photos(unknown, new)


def test_sizes_must_agree(scene: Scene, tmp_path: Path) -> None:
    assert network_size(scene.images) == 64
    photo(tmp_path / "b.png", 3, (300, 200))
    assert network_size(open_images([tmp_path / "b.png"], size=224)) == 224
    assert network_size(open_images([tmp_path / "b.png"], size=250)) == 250
    with pytest.raises(InputError, match="opened with size 128, those of the scene with 64"):
        join_photos(scene, open_images([tmp_path / "b.png"], size=128))


@pytest.mark.parametrize(
    "options",
    [
        ReconstructionOptions(mapper="dense"),
        ReconstructionOptions(solver="adam"),
        ReconstructionOptions(align=AdamOptions()),
    ],
)
def test_other_mappers_are_refused(scene: Scene, tmp_path: Path, options: ReconstructionOptions) -> None:
    with pytest.raises(InputError, match="mapper sparse with solver lm"):
        extend_scene(scene, tmp_path, object(), options=options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no photo that others could be added to"):
        extend_scene(replace(scene, images=()), tmp_path, object())  # type: ignore[arg-type]


def test_the_strongest_matches_decide_between_worlds() -> None:
    # Photos 0 1 of world 0, 2 of world 1; 3 matches both, 4 only 3, 5 6 each other, 7 nothing.
    strength = {(3, 0): 50.0, (3, 2): 90.0, (4, 3): 20.0, (5, 6): 5.0}
    worlds = find_worlds(strength, [0, 0, 1], 8)
    assert worlds.joined == ((1, (2, 3, 4)),)
    assert worlds.apart == ((5, 6),)
    assert worlds.bridges == ((3, 0),)


def test_parts_of_one_world_are_solved_apart() -> None:
    worlds = find_worlds({(2, 0): 5.0, (3, 1): 5.0}, [0, 0], 4)
    assert worlds.joined == ((0, (0, 2)), (0, (1, 3)))
    assert worlds.bridges == ()


def test_stored_depth_is_a_canonical_view(scene: Scene) -> None:
    image = scene.images[0]
    depth = 1 + np.random.default_rng(0).random(image.depth.shape, np.float32)
    depth[8:16, :8] = 0
    image = replace(image, depth=depth)
    view = stored_view(image, 8)
    known = torch.from_numpy(depth > 0)
    np.testing.assert_allclose(
        (view.relative_depth * view.core_depth.repeat_interleave(8, 0).repeat_interleave(8, 1))[known],
        depth[known],
        rtol=1e-6,
    )
    assert bool((view.core_depth > 0).all())
    np.testing.assert_allclose(view.pts3d[known], image.pts3d()[known], atol=1e-5)
    assert not bool(has_depth(image)[8:16, :8].any())


def test_tracks_become_matches_of_neighbours(scene: Scene) -> None:
    images = (*scene.images, replace(scene.images[0], name="third"))
    xy = np.arange(14).reshape(7, 2)
    to_original = scene.images[0].transform.points_to_original(xy.astype(np.float64))
    track, image = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 2, 0, 0, 2])
    tracks = Tracks(np.zeros((3, 3)), np.zeros((3, 3)), track, image, to_original, np.zeros(7))
    found = stored_matches(images, tracks)
    assert set(found) == {(0, 1), (1, 2), (0, 2)}
    assert isinstance(found[0, 2], Correspondences)
    np.testing.assert_array_equal(found[0, 2].xy0, xy[[4, 5]])
    np.testing.assert_array_equal(found[0, 2].xy1, xy[[3, 6]])
    assert stored_matches(images, Tracks.empty()) == {}
