"""The whole way from photos to poses, with exact truth (spec 50 D6, D9)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mast3r_model import ImageError, InputError
from mast3r_visloc import Camera, Localizer, Pose, Query
from mast3r_visloc.localizing import LocalizationOptions
from mast3r_visloc.localizing.clusters import clusters
from mast3r_visloc.localizing.evidence import ImageEvidence
from mast3r_visloc.maps import DensePoints, LocalizationMap, MapImage

from .patch_network import PatchNetwork
from .wave_world import Shot, make_map, pose_gap, shot

SIZE = 96
MAP = [shot(f"{number}.png", 0.5 * number - 1, 0.1 * number, yaw=3 - number) for number in range(5)]
QUERIES = [
    shot(f"query{number}.png", 0.4 * number - 0.7, 0.1, yaw=number, z=0.2 * number) for number in range(4)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("localizer")
    for query in QUERIES:
        query.save(made)
    return made


@pytest.fixture(scope="module")
def known_map(folder: Path) -> LocalizationMap:
    return make_map(folder, MAP)


def localizer(known_map: LocalizationMap, **options: Any) -> Localizer:
    return Localizer(known_map, PatchNetwork(), **{"retrieval": "all", "size": SIZE, **options})  # type: ignore[arg-type]


def queries(folder: Path, shots: Sequence[Shot] = QUERIES) -> list[Query]:
    return [Query(each.name, folder / each.name, each.camera) for each in shots]


def test_poses_are_right(folder: Path, known_map: LocalizationMap) -> None:
    with localizer(known_map) as running:
        for query in QUERIES:
            pose = running.localize(folder / query.name, camera=query.camera)
            metres, degrees = pose_gap(pose.cam2world, query.pose)
            assert metres < 0.03
            assert degrees < 0.5
            assert pose.method == "pnp"
            assert pose.reason is None
            assert pose.name == str(folder / query.name)
            assert pose.camera_source.startswith("listed")
            assert pose.num_inliers == pose.correspondences.inlier.sum() > 200
            assert list(pose.candidates) == [each.name for each in MAP]
            assert {"read", "encode", "retrieve", "match and solve"} == pose.timings.keys()


def test_correspondences_are_where_the_points_are(folder: Path, known_map: LocalizationMap) -> None:
    with localizer(known_map) as running:
        found = running.localize(folder / QUERIES[0].name, camera=QUERIES[0].camera).correspondences
    gap = np.linalg.norm(QUERIES[0].project(found.xyz) - found.query_xy, axis=1)
    assert np.median(gap[found.inlier]) < 0.2
    for number, each in enumerate(MAP):
        rows = found.map_image == number
        np.testing.assert_allclose(each.project(found.xyz[rows]), found.map_xy[rows], atol=1e-6)


def test_threads_give_what_one_gives(folder: Path, known_map: LocalizationMap) -> None:
    results = []
    for jobs in (1, 3):
        with localizer(known_map, retrieval="encoder", topk=3) as running:
            results.append(list(running.localize_queries(queries(folder) * 2, jobs=jobs)))
    assert [query.name for query, _ in results[1]] == [query.name for query in QUERIES] * 2
    for (_, alone), (_, threaded) in zip(*results, strict=True):
        assert alone.cam2world is not None
        assert threaded.cam2world is not None
        assert np.array_equal(alone.cam2world, threaded.cam2world)
        assert alone.candidates == threaded.candidates


@pytest.mark.parametrize("jobs", [1, 2])
def test_photos_that_cannot_be_read(folder: Path, known_map: LocalizationMap, jobs: int) -> None:
    (folder / "broken.png").write_text("no photo")
    todo = queries(folder)
    todo[1:1] = [Query("broken", folder / "broken.png"), Query("missing", folder / "missing.png")]
    todo.insert(3, Query("cropped", todo[0].path, Camera("PINHOLE", 50, 60, (40, 40, 25, 30))))
    left_out: list[str] = []
    with localizer(known_map) as running:
        found = list(
            running.localize_queries(
                todo, jobs=jobs, on_unreadable=lambda query, error: left_out.append(query.name)
            )
        )
        assert [query.name for query, _ in found] == [query.name for query in QUERIES]
        assert left_out == ["broken", "missing", "cropped"]
        with pytest.raises(ImageError, match="broken"):
            list(running.localize_queries(todo, jobs=jobs))


def test_queries_are_taken_as_they_are_worked_on(folder: Path, known_map: LocalizationMap) -> None:
    taken: list[str] = []

    def many() -> Any:
        for query in queries(folder) * 5:
            taken.append(query.name)
            yield query

    for jobs in (1, 2):
        taken.clear()
        with localizer(known_map) as running:
            next(iter(running.localize_queries(many(), jobs=jobs)))
        assert len(taken) <= jobs + 1


def test_photos_alone_and_one_camera_for_all(folder: Path, known_map: LocalizationMap) -> None:
    """Spec 50 D6: `localize_many` takes photos; `camera` is of those for which no other is given."""
    paths = [folder / query.name for query in QUERIES]
    with localizer(known_map, camera=QUERIES[0].camera) as running:
        found = list(running.localize_many(paths, jobs=2))
        assert [pose.name for pose in found] == [str(path) for path in paths]
        for pose, query in zip(found, QUERIES, strict=True):
            assert pose.camera.params == query.camera.params
            assert pose_gap(pose.cam2world, query.pose)[0] < 0.03
        other = Camera.from_intrinsics(
            QUERIES[0].intrinsics * np.array([[1.1], [1.1], [1]]), QUERIES[0].shape
        )
        (pose,) = running.localize_many(paths[:1], camera=other)
        assert pose.camera.params == other.params
    with localizer(known_map) as running:
        assert running.query_camera(Query("alone", paths[0])).source == "unknown"


def test_groups_of_map_images_with_depth(
    folder: Path, known_map: LocalizationMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spec 50 C1: two places that look alike, 100 metres apart, are no common evidence."""
    there = make_map(folder, MAP, "dense").images
    away = np.array([100.0, 0, 0])

    def moved(image: MapImage) -> MapImage:
        assert image.cam2world is not None
        pose = image.cam2world.copy()
        pose[:3, 3] += away

        def points() -> DensePoints:
            assert image.load_points is not None
            own = image.load_points()
            assert isinstance(own, DensePoints)
            return DensePoints(own.grid + away, own.transform)

        return MapImage(f"away-{image.name}", image.path, image.camera, pose, points)

    images = [moved(there[0]), there[1], there[2], moved(there[3])]
    seen: list[list[list[int]]] = []

    def spied(parts: Sequence[ImageEvidence]) -> list[list[int]]:
        seen.append(sorted(clusters(parts)))
        return seen[-1]

    monkeypatch.setattr("mast3r_visloc.localizing.search.clusters", spied)
    for fine in (False, True):
        with localizer(LocalizationMap(images, folder, "test map"), cluster=True, fine=fine) as running:
            pose = running.localize(folder / QUERIES[1].name, camera=QUERIES[1].camera)
        assert seen[-1] == [[0, 3], [1, 2]]
        assert pose.cam2world is not None
        expected = QUERIES[1].pose.copy()
        inliers = set(pose.correspondences.map_image[pose.correspondences.inlier])
        if inliers == {0, 3}:
            expected[:3, 3] += away
        else:
            assert inliers == {1, 2}
        assert pose_gap(pose.cam2world, expected)[0] < 0.03


def test_candidates_can_be_given(folder: Path, known_map: LocalizationMap) -> None:
    with localizer(known_map) as running:
        pose = running.localize(
            folder / QUERIES[0].name, camera=QUERIES[0].camera, candidates=["2.png", "0.png", "2.png"]
        )
        assert list(pose.candidates) == ["2.png", "0.png"]
        with pytest.raises(InputError, match=r"'away\.png' is no image of the map"):
            running.localize(folder / QUERIES[0].name, candidates=["0.png", "away.png"])
        nothing = running.localize(folder / QUERIES[0].name, candidates=[])
        assert (nothing.success, nothing.reason, nothing.method) == (False, "no_candidates", None)
        found = list(running.localize_queries(queries(folder), candidates=lambda query: [query.name[5:]]))
        assert [list(pose.candidates) for _, pose in found] == [["0.png"], ["1.png"], ["2.png"], ["3.png"]]


def test_failures_say_why(folder: Path, known_map: LocalizationMap) -> None:
    def failed(**options: Any) -> Pose:
        with localizer(known_map, **options) as running:
            return running.localize(folder / QUERIES[0].name, camera=QUERIES[0].camera)

    few_matches = failed(min_confidence=1e12)
    assert (few_matches.success, few_matches.reason) == (False, "few_matches")
    few_inliers = failed(min_inliers=100_000)
    assert (few_inliers.success, few_inliers.reason) == (False, "few_inliers")
    assert few_inliers.cam2world is None
    assert list(few_inliers.candidates) == [each.name for each in MAP]


def test_options_are_checked(known_map: LocalizationMap) -> None:
    for wrong in ({"topk": 0}, {"pixel_tolerance": 0}, {"max_image_size": 3}, {"focal": "perhaps"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            localizer(known_map, **wrong)
    with localizer(known_map, options=LocalizationOptions(batch_size=3), batch_size="auto") as running:
        assert running.options.batch_size == LocalizationOptions().batch_size
    with pytest.raises(InputError, match="unknown option 'top_k'") as caught:
        localizer(known_map, top_k=3)
    assert "topk" in str(caught.value.hint)


def test_images_without_points_say_nothing(folder: Path) -> None:
    known_map = make_map(folder, MAP)
    object.__setattr__(known_map.images[1], "load_points", None)
    with localizer(known_map) as running:
        pose = running.localize(folder / QUERIES[0].name, camera=QUERIES[0].camera)
    assert list(pose.candidates) == ["0.png", "2.png", "3.png", "4.png"]
    assert pose.success


def test_more_candidates_than_fit_into_memory(
    folder: Path, known_map: LocalizationMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = []
    for at_once in (16, 2):
        monkeypatch.setattr("mast3r_visloc.localizing.query_matching.IMAGES_IN_MEMORY", at_once)
        with localizer(known_map, exhaustive=True) as running:
            poses.append(running.localize(folder / QUERIES[1].name, camera=QUERIES[1].camera))
    assert poses[0].cam2world is not None
    assert poses[1].cam2world is not None
    assert np.array_equal(poses[0].cam2world, poses[1].cam2world)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_photos_are_localised_as_well(folder: Path, orientation: int) -> None:
    """Poses and pixels are those of the files' own, turned cameras."""
    query = QUERIES[1].turned(f"turned{orientation}.png", orientation)
    query.save(folder)
    shots = [MAP[0], MAP[1].turned("1-turned.png", 8), MAP[2].turned("2-turned.png", 3)]
    with localizer(make_map(folder, shots)) as running:
        pose = running.localize(folder / query.name, camera=query.camera)
    metres, degrees = pose_gap(pose.cam2world, query.pose)
    assert metres < 0.03
    assert degrees < 0.5
    assert set(pose.correspondences.map_image[pose.correspondences.inlier]) == {0, 1, 2}


def bias(folder: Path, shape: tuple[int, int], kind: str, **options: Any) -> np.ndarray:
    """Mean of (x, y) between where the query shows points by its pose and where it does, in pixels of the
    network's input, or the file's where those are larger."""
    known_map = make_map(folder, [shot("half.png", 0.0, shape=shape)], kind)
    gaps = []
    for number, (x, y) in enumerate([(0.31, 0.17), (-0.23, 0.29), (0.12, -0.33)]):
        query = shot(f"half{number}.png", x, y, shape=shape)
        query.save(folder)
        with localizer(known_map, **options) as running:
            pose = running.localize(folder / query.name, camera=query.camera)
        assert pose.cam2world is not None
        points = query.wall(np.random.default_rng(0).uniform(0, np.array(shape[::-1]) - 1, (500, 2)))
        found = Shot("", pose.cam2world, shape)
        gaps.append((found.project(points) - query.project(points)).mean(axis=0))
    mean: np.ndarray = np.mean(gaps, axis=0)
    return mean / max(1, max(shape) / SIZE)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("shape", [(64, 96), (192, 288), (201, 310), (50, 80), (150, 150)])
def test_no_half_pixel_bias(tmp_path: Path, shape: tuple[int, int], kind: str) -> None:
    """Cameras moved along the wall; photos as large as the network's input, shrunk, cut, and enlarged.

    Half a pixel of the file forgotten would be 0.33 of the network's where photos are shrunk to a third.
    """
    assert np.abs(bias(tmp_path, shape, kind)).max() < 0.05


@pytest.mark.parametrize("max_image_size", [None, 160])
def test_no_half_pixel_bias_of_windows(tmp_path: Path, max_image_size: int | None) -> None:
    """Spec 50, trap 3: the halves forgotten would be 0.4 pixels of the photo, 0.13 of the network's."""
    found = bias(tmp_path, (192, 288), "sparse", fine=True, max_image_size=max_image_size)
    assert np.abs(found).max() < 0.05


def test_it_is_told_where_the_camera_comes_from(folder: Path, known_map: LocalizationMap) -> None:
    query = QUERIES[0]
    with localizer(known_map) as running:
        for source in (None, "given", "of the map"):
            asked = Query(query.name, folder / query.name, query.camera, camera_source=source)
            assert running.query_camera(asked).source == (source or "listed for this photo")


def test_photos_are_brought_to_the_size_that_the_network_was_made_for(known_map: LocalizationMap) -> None:
    network = PatchNetwork()
    with Localizer(known_map, network, retrieval="all") as running:  # type: ignore[arg-type]
        assert running.index.size == max(network.config.img_size)
    with Localizer(known_map, network, retrieval="all", size=64) as running:  # type: ignore[arg-type]
        assert running.index.size == 64
