"""Where photos were taken: errors against the truth, and how long a query takes.

    python benchmarks/localisation.py scenes                    # synthetic scenes, exact truth
    python benchmarks/localisation.py photos ../shared/images/sceaux    # a SIFT map, some photos left out
    python benchmarks/localisation.py speed                     # against the straightforward way, in one run

``scenes``: views of one scene (`mast3r_train.synthetic.render_scene_views`), every fifth a query, the others
a map of posed RGB-D frames. ``photos``: COLMAP's SIFT reconstruction of all photos is the truth; every third
is taken out of it, and what is left is the map. Positions are per cent of the spread of the cameras (largest
distance from their centre).

``speed``: the straightforward way encodes both images of every pair, one pair at a time, and matches every
known pixel (it is `ReferencePipeline`, upstream's); ours has the map's features in an index, encodes the
query once, decodes in batches and looks for 768 points of each image. The map is a COLMAP model of a
synthetic scene, 24 photos of 1024x768. Both use PoseLib and try all
candidates.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mast3r_model import AsymmetricMASt3R, load_model
from mast3r_train.synthetic import SceneViews, render_scene_views
from mast3r_visloc import (
    Camera,
    ColmapMap,
    LocalizationDataset,
    LocalizationMap,
    Localizer,
    Pose,
    Query,
    ReferenceOptions,
    ReferencePipeline,
    RgbdFolder,
    build_index,
    iterate_reference_views,
    pose_error,
    read_map,
)


@dataclass(frozen=True)
class Case:
    """A map, and photos of known pose that are not in it."""

    name: str
    map: LocalizationMap
    queries: Sequence[Query]
    spread: float


def save_rgbd(views: SceneViews, folder: Path) -> list[str]:
    """Write posed RGB-D frames as `RgbdFolder` reads them; returns the photos' names."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "intrinsics.txt", views.intrinsics[0])
    names = []
    for index in range(len(views)):
        stem = folder / f"frame-{index:06d}"
        Image.fromarray(views.images[index]).save(f"{stem}.color.png")
        np.save(f"{stem}.depth.npy", views.depth[index].astype(np.float32))
        np.savetxt(f"{stem}.pose.txt", views.cam2world[index])
        names.append(f"{stem.name}.color.png")
    return names


def save_colmap(views: SceneViews, folder: Path, points: int = 4_000) -> list[str]:
    """Write photos and a COLMAP model of points that are seen in two views or more, as SfM maps have them."""
    import pycolmap

    names, (height, width) = list(views.names), views.shape
    views.save(folder)
    random = np.random.default_rng(0)
    index = random.integers(0, len(views), points)
    y, x = random.integers(1, height - 1, points), random.integers(1, width - 1, points)
    depth = views.depth[index, y, x]
    rays = np.einsum(
        "nij,nj->ni", np.linalg.inv(views.intrinsics)[index], np.stack([x, y, np.ones(points)], 1)
    )
    world = np.einsum("nij,nj->ni", views.cam2world[index, :3, :3], rays * depth[:, None])
    world = (world + views.cam2world[index, :3, 3])[depth > 0]
    model = pycolmap.Reconstruction()
    focal, center = views.intrinsics[0, 0, 0], views.intrinsics[0, :2, 2]
    # The straightforward way knows this model.
    camera = Camera.from_sensor("SIMPLE_PINHOLE", (width, height), [focal, *center], "centre")
    model.add_camera_with_trivial_rig(camera.to_colmap())
    seen: list[list[tuple[int, int]]] = [[] for _ in world]
    for number in range(len(views)):
        world2cam = np.linalg.inv(views.cam2world[number])
        local = world @ world2cam[:3, :3].T + world2cam[:3, 3]
        xy = (local @ views.intrinsics[number].T)[:, :2] / np.maximum(local[:, 2:], 1e-9)
        inside = (local[:, 2] > 0) & (xy > 0).all(1) & (xy < [width - 1, height - 1]).all(1)
        rows = np.flatnonzero(inside)
        column, row = np.round(xy[rows]).astype(int).T
        surface = views.depth[number, row, column]
        rows = rows[np.abs(surface - local[rows, 2]) < 0.01 * surface]
        for place, point in enumerate(rows):
            seen[point].append((number + 1, place))
        image = pycolmap.Image(name=names[number], keypoints=xy[rows] + 0.5, camera_id=1, image_id=number + 1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(world2cam[:3]))
    for position, observed in zip(world, seen, strict=True):
        if len(observed) >= 2:
            track = pycolmap.Track([pycolmap.TrackElement(*element) for element in observed])
            model.add_point3D(position, track, np.zeros(3, np.uint8))
    (folder / "sparse").mkdir()
    model.write(folder / "sparse")
    return names


def spread_of(poses: Sequence[np.ndarray]) -> float:
    """Largest distance of the cameras from their centre."""
    centers = np.array([pose[:3, 3] for pose in poses])
    return float(np.linalg.norm(centers - centers.mean(0), axis=1).max())


def scene_case(folder: Path, path: str, seed: int, views: int, shape: tuple[int, int]) -> Case:
    """A synthetic scene; every fifth view is a query."""
    rendered = render_scene_views(seed, views, path=path, shape=shape)  # type: ignore[arg-type]
    names = save_rgbd(rendered, folder)
    dataset = RgbdFolder(folder, queries=names[2::5])
    return Case(f"{path} {seed}", dataset.map, dataset.queries, spread_of(list(rendered.cam2world)))


def photo_case(photos: Path, folder: Path) -> Case:
    """COLMAP's own reconstruction with some photos taken out."""
    import pycolmap

    (folder / "images").mkdir(parents=True)
    for photo in sorted(photos.glob("*.[jJ][pP]*[gG]")):
        (folder / "images" / photo.name).symlink_to(photo.absolute())
    database = folder / "database.db"
    pycolmap.set_random_seed(0)
    pycolmap.extract_features(
        database,
        folder / "images",
        camera_mode=pycolmap.CameraMode.SINGLE,
        extraction_options=pycolmap.FeatureExtractionOptions(use_gpu=False, max_image_size=1600),
        device=pycolmap.Device.cpu,
    )
    pycolmap.match_exhaustive(
        database,
        matching_options=pycolmap.FeatureMatchingOptions(use_gpu=False),
        device=pycolmap.Device.cpu,
    )
    found = pycolmap.incremental_mapping(database, folder / "images", folder / "full")
    model = max(found.values(), key=lambda part: part.num_reg_images())
    images = sorted((model.images[key] for key in model.reg_image_ids()), key=lambda image: image.name)
    truth = {
        image.name: np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]]) for image in images
    }
    cameras = {image.name: Camera.from_colmap(model.cameras[image.camera_id]) for image in images}
    held_out = [image.name for image in images][2::3]
    for image in images:
        if image.name in held_out:
            model.deregister_frame(image.frame_id)
    (folder / "sparse").mkdir()
    model.write(folder / "sparse")
    queries = [Query(name, folder / "images" / name, cameras[name], truth[name]) for name in held_out]
    read = read_map(folder / "sparse", images=folder / "images")
    return Case(photos.name, read, queries, spread_of(list(truth.values())))


def localise(case: Case, model: AsymmetricMASt3R, **options: object) -> Iterator[tuple[Query, Pose]]:
    """All queries of a case."""
    with Localizer(case.map, model, **options) as localizer:
        yield from localizer.localize_queries(case.queries)


def report_errors(case: Case, model: AsymmetricMASt3R, **options: object) -> None:
    """One line: medians and recalls."""
    errors, seconds = [], []
    for query, pose in localise(case, model, **options):
        seconds.append(sum(pose.timings.values()))
        if pose.cam2world is None or query.cam2world is None:
            errors.append((np.inf, np.inf))
            continue
        error = pose_error(pose.cam2world, query.cam2world)
        errors.append((100 * error.position / case.spread, error.rotation))
    position, rotation = np.array(errors).T
    shares = [100 * np.mean((position < p) & (rotation < r)) for p, r in ((1, 1), (5, 5), (20, 20))]
    print(  # noqa: T201
        f"| {case.name} | {len(case.map)} | {len(errors)} | {np.isfinite(position).sum()} | "
        f"{np.median(rotation):.3f} | {np.median(position):.2f} | "
        + " | ".join(f"{share:.0f}" for share in shares)
        + f" | {np.median(seconds):.1f} |",
        flush=True,
    )


HEAD = (
    "| map | photos | queries | localised | median deg | median % "
    "| 1 %, 1 deg | 5 %, 5 deg | 20 %, 20 deg | s |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def scenes(arguments: argparse.Namespace, model: AsymmetricMASt3R) -> None:
    """Errors on synthetic scenes."""
    print(HEAD)  # noqa: T201
    for path in arguments.paths:
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                case = scene_case(Path(folder), path, seed, arguments.views, (240, 320))
                report_errors(case, model, size=320, min_confidence=0.0)


def photos(arguments: argparse.Namespace, model: AsymmetricMASt3R) -> None:
    """Errors on photos: known cameras, those of EXIF, unknown ones; plain and fine."""
    with tempfile.TemporaryDirectory() as folder:
        case = photo_case(arguments.folder, Path(folder))
        without = [Query(query.name, query.path, None, query.cam2world) for query in case.queries]
        unsure = Case(case.name, case.map, without, case.spread)
        print(HEAD)  # noqa: T201
        for label, chosen, options in (
            ("known camera", case, {}),
            ("known camera, fine", case, {"fine": True, "max_image_size": 1200}),
            ("EXIF", unsure, {}),
            ("unknown camera", unsure, {"focal": "estimate"}),
        ):
            named = Case(f"{case.name}, {label}", chosen.map, chosen.queries, chosen.spread)
            report_errors(named, model, **options)


def _straightforward(
    dataset: LocalizationDataset, model: AsymmetricMASt3R, fine: bool
) -> Callable[[int], Pose]:
    options = ReferenceOptions(
        pnp_mode="poselib", reprojection_error_diag_ratio=0.008, coarse_to_fine=fine,
        c2f_crop_with_homography=True, confidence_threshold=0.0,
    )  # fmt: skip
    pipeline = ReferencePipeline(model, options)
    return lambda number: pipeline.localize(iterate_reference_views(dataset, number, pipeline.maxdim))


def _ours(dataset: LocalizationDataset, model: AsymmetricMASt3R, **options: object) -> Callable[[int], Pose]:
    localizer = Localizer(dataset.map, model, **options)

    def locate(number: int) -> Pose:
        query, names = dataset.queries[number], [found.name for found in dataset.candidates(number)]
        return localizer.localize(query.path, camera=query.camera, candidates=names, name=query.name)

    return locate


def speed(arguments: argparse.Namespace, model: AsymmetricMASt3R) -> None:
    """Seconds a query, ours and the straightforward way, on the same queries."""
    with tempfile.TemporaryDirectory() as folder:
        rendered = render_scene_views(0, 24, path="orbit", shape=(768, 1024))
        names = save_colmap(rendered, Path(folder))
        held_out = names[3::8]
        pairs = Path(folder) / "pairs.txt"
        map_names = [name for name in names if name not in held_out]
        pairs.write_text(
            "".join(f"{query} {name}\n" for query in held_out for name in map_names[: arguments.topk])
        )
        dataset = ColmapMap(
            Path(folder) / "sparse",
            images=Path(folder) / "images",
            queries=held_out,
            pairsfile=pairs,
            topk=arguments.topk,
        )
        started = time.perf_counter()
        build_index(dataset.map, model, size=512)
        print(f"index: {time.perf_counter() - started:.1f} s for {len(dataset.map)} photos")  # noqa: T201
        for fine in [only == "fine" for only in arguments.only]:
            ways = {"straightforward": None, "ours": True, "ours, stopping early": False}
            times, errors = dict.fromkeys(ways, 0.0), {name: list[float]() for name in ways}
            for name, exhaustive in ways.items():
                locate = (
                    _straightforward(dataset, model, fine)
                    if exhaustive is None
                    else _ours(dataset, model, fine=fine, exhaustive=exhaustive, min_confidence=0.0)
                )
                for number, query in enumerate(dataset.queries[: arguments.queries]):
                    started = time.perf_counter()
                    pose = locate(number)
                    times[name] += time.perf_counter() - started
                    assert query.cam2world is not None
                    failed = pose.cam2world is None
                    error = np.inf if failed else pose_error(pose.cam2world, query.cam2world).position
                    errors[name].append(error)
            for name, seconds in times.items():
                print(  # noqa: T201
                    f"{'fine' if fine else 'plain'}, {name}: {seconds / arguments.queries:.1f} s a query, "
                    f"{times['straightforward'] / seconds:.1f} times; position errors "
                    + ", ".join(f"{error:.3f}" for error in errors[name]),
                    flush=True,
                )


def main() -> None:
    """Read the command line and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    of_scenes = kinds.add_parser("scenes")
    of_scenes.add_argument("--paths", nargs="+", default=["orbit", "walk"])
    of_scenes.add_argument("--seeds", type=int, default=3)
    of_scenes.add_argument("--views", type=int, default=25)
    of_photos = kinds.add_parser("photos")
    of_photos.add_argument("folder", type=Path)
    of_speed = kinds.add_parser("speed")
    of_speed.add_argument("--topk", type=int, default=20)
    of_speed.add_argument("--queries", type=int, default=1)
    of_speed.add_argument("--only", nargs="+", choices=["plain", "fine"], default=["plain", "fine"])
    for each in (of_scenes, of_photos, of_speed):
        each.add_argument("--model", default="nano")
        each.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model, device="cpu")
    assert isinstance(model, AsymmetricMASt3R)
    {"scenes": scenes, "photos": photos, "speed": speed}[arguments.kind](arguments, model)


if __name__ == "__main__":
    main()
