"""Synthetic scenes: exact geometry, determinism, the view contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model import ConfigError, Mast3rError, parse_expression
from mast3r_train.datasets.synthetic import SyntheticScenes
from mast3r_train.synthetic import Cameras, Lens, SceneBatch, build_bank, make_scene, render, sample_pairs
from mast3r_train.synthetic.textures import TEXTURE_SIZE
from mast3r_train.synthetic.tracing import trace

CPU = torch.device("cpu")
SIZE = (48, 32)


def dataset(**options: object) -> SyntheticScenes:
    settings: dict = {"seed": 5, "resolution": SIZE, "procedural": 8, "n_corres": 64, "nneg": 0.5} | options
    return SyntheticScenes(20, **settings)


def pairs_of_scenes(n: int, shape: tuple[int, int]) -> tuple[list, SceneBatch, Cameras]:
    rngs = [np.random.default_rng([11, i]) for i in range(n)]
    scenes = [make_scene(rng, 4) for rng in rngs]
    stacked = SceneBatch.stack(scenes, CPU)
    return scenes, stacked, sample_pairs(scenes, stacked, shape, rngs, lens=Lens(), covisibility=(0.3, 0.9))


def nearest_hit(scene, origin: np.ndarray, direction: np.ndarray) -> float:
    """Depth by a plain loop in float64: the twin of `trace` (no terrain)."""
    best = np.inf
    faces, rounds = scene.faces, scene.rounds
    for i in range(len(faces.center)):
        u, v = faces.half_u[i].astype(float), faces.half_v[i].astype(float)
        normal = np.cross(u, v)
        facing = normal @ direction
        if facing == 0 or (faces.one_sided[i] and normal @ (origin - faces.center[i]) < 0):
            continue
        z = normal @ (faces.center[i] - origin) / facing
        offset = origin + z * direction - faces.center[i]
        a, b = offset @ u / (u @ u), offset @ v / (v @ v)
        inside = np.hypot(a, b) <= 1 if faces.is_disc[i] else max(abs(a), abs(b)) <= 1
        if z > 0 and inside:
            best = min(best, z)
    for i in range(len(rounds.center)):
        axes = rounds.axes[i].astype(float)
        unit = axes / (axes**2).sum(1, keepdims=True)
        o, d = unit @ (origin - rounds.center[i]), unit @ direction
        flat = slice(2) if rounds.is_cylinder[i] else slice(3)
        a, b, c = d[flat] @ d[flat], o[flat] @ d[flat], o[flat] @ o[flat] - 1
        if b * b - a * c < 0 or c <= 0:
            continue
        z = (-b - np.sqrt(b * b - a * c)) / a
        if z > 0 and (not rounds.is_cylinder[i] or abs(o[2] + z * d[2]) <= 1):
            best = min(best, z)
    return best


def test_rays_hit_what_a_plain_loop_hits() -> None:
    scenes, stacked, cameras = pairs_of_scenes(6, SIZE[::-1])
    hits = trace(stacked, cameras, SIZE[::-1])
    rays = cameras.rays(SIZE[::-1])
    rng = np.random.default_rng(0)
    compared = 0
    for view in range(len(cameras.scene)):
        scene = scenes[int(cameras.scene[view])]
        if scene.terrain is not None:
            continue
        pose = cameras.cam2world[view].double().numpy()
        for pixel in rng.integers(0, SIZE[0] * SIZE[1], 25):
            direction = pose[:3, :3] @ rays[view, :, pixel].double().numpy()
            expected = nearest_hit(scene, pose[:3, 3], direction)
            w = float(hits.inverse_depth[view, pixel])
            got = 1 / w if w > 0 else np.inf
            if np.isfinite(expected) or np.isfinite(got):
                compared += 1
                # At silhouettes single precision may fall to either side; those few pixels are skipped.
                if abs(got - expected) > 1e-3 * expected:
                    nudged = [
                        nearest_hit(scene, pose[:3, 3], direction + 1e-4 * rng.normal(size=3))
                        for _ in range(20)
                    ]
                    assert any(abs(got - other) < 5e-3 * got for other in nudged)
    assert compared > 100


def test_terrain_is_hit_on_its_surface() -> None:
    from mast3r_train.synthetic.terrain import terrain_height

    found = 0
    for seed in range(40):
        rng = np.random.default_rng([seed])
        scene = make_scene(rng, 4)
        if scene.terrain is None:
            continue
        stacked = SceneBatch.stack([scene], CPU)
        cameras = sample_pairs([scene], stacked, SIZE[::-1], [rng], lens=Lens(), covisibility=(0.3, 0.9))
        hits = trace(stacked, cameras, SIZE[::-1])
        ground = hits.surface == stacked.texture.shape[1] - 1
        rays = cameras.cam2world[:, :3, :3] @ cameras.rays(SIZE[::-1])
        points = cameras.cam2world[:, :3, 3, None] + rays / hits.inverse_depth[:, None]
        for view in range(2):
            on_ground = points[view][:, ground[view]].T
            height = terrain_height(stacked.terrain_heights, stacked.terrain_extent, on_ground[None, :, :2])[
                0
            ]
            error = (on_ground[:, 2] - height).abs()
            assert bool((error < 2e-3 * scene.terrain.extent).all())
            found += len(error)
    assert found > 500


def test_an_item_does_not_depend_on_its_batch() -> None:
    data = dataset()
    together = data.batch([(3, 0), (7, 0), (4, 0)])
    alone = data.batch([(7, 0)])
    again = dataset().batch([(7, 0)])
    for views, row in ((together, 1), (again, 0)):
        for mine, other in zip(alone, views, strict=True):
            for key in ("img", "depthmap", "camera_pose", "camera_intrinsics", "corres", "true_shape", "rng"):
                torch.testing.assert_close(mine[key][0], other[key][row], rtol=0, atol=1e-5, msg=key)


def test_other_seeds_splits_and_positions_in_a_sum_draw_other_scenes() -> None:
    base = dataset()
    moved = dataset()
    moved.assign_stream_indices(1)
    for other in (dataset(seed=6), dataset(split="val"), moved):
        assert not torch.equal(
            base.batch([(0, 0)])[0]["camera_pose"], other.batch([(0, 0)])[0]["camera_pose"]
        )


def test_view_contract() -> None:
    data = dataset(portrait=1.0)
    views = data[2]
    width, height = SIZE
    expected = {
        "img": ((3, height, width), torch.float32),
        "depthmap": ((height, width), np.float32),
        "camera_pose": ((4, 4), np.float32),
        "camera_intrinsics": ((3, 3), np.float32),
        "pts3d": ((height, width, 3), np.float32),
        "valid_mask": ((height, width), np.bool_),
        "sky_mask": ((height, width), np.bool_),
        "true_shape": ((2,), np.int32),
        "corres": ((64, 2), np.int64),
        "valid_corres": ((64,), np.bool_),
    }
    for number, view in enumerate(views):
        for key, (shape, kind) in expected.items():
            assert tuple(view[key].shape) == shape, key
            assert view[key].dtype == kind, key
        assert tuple(view["true_shape"]) == (width, height)
        assert view["idx"] == (2, 0, number)
        assert view["is_metric_scale"] is True
        assert np.isfinite(view["depthmap"]).all()
        assert -1 <= float(view["img"].min()) < float(view["img"].max()) <= 1
    assert views[0]["instance"] != views[1]["instance"]


@pytest.mark.parametrize("portrait", [0.0, 1.0])
def test_points_project_back_to_their_pixels(portrait: float) -> None:
    view1, _ = dataset(portrait=portrait).batch([(i, 0) for i in range(4)])
    world2cam = torch.linalg.inv(view1["camera_pose"].double())
    points = (
        view1["pts3d"].double() @ world2cam[:, None, :3, :3].transpose(-1, -2)
        + world2cam[:, None, None, :3, 3]
    )
    projected = points @ view1["camera_intrinsics"].double()[:, None].transpose(-1, -2)
    pixel = projected[..., :2] / projected[..., 2:]
    y, x = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="ij")
    error = (pixel - torch.stack([x, y], -1)).abs().amax(-1)
    assert float(error[view1["valid_mask"]].max()) < 1e-3


def test_matches_are_the_same_points() -> None:
    view1, view2 = dataset().batch([(i, 0) for i in range(6)])
    row = torch.arange(6)[:, None]
    points = [v["pts3d"][row, v["corres"][..., 1], v["corres"][..., 0]] for v in (view1, view2)]
    depth = view1["depthmap"][row, view1["corres"][..., 1], view1["corres"][..., 0]]
    valid = view1["valid_corres"]
    assert torch.equal(valid, view2["valid_corres"])
    assert int(valid.sum()) > 100
    relative = ((points[0] - points[1]).norm(dim=-1) / depth)[valid]
    pixel = 1 / view1["camera_intrinsics"].diagonal(dim1=1, dim2=2)[:, :2].amin()
    assert float(relative.median()) < pixel


def test_overlap_is_steered() -> None:
    def mean_matches(low: float, high: float) -> float:
        data = dataset(n_corres=0, covisibility=(low, high), portrait=0.0, holes=False)
        shares = []
        view1, view2 = data.batch([(i, 0) for i in range(12)])
        from mast3r_train.geometry import reciprocal_pairs, reproject

        forward = reproject(view1["pts3d"], view2["camera_intrinsics"], view2["camera_pose"], SIZE[::-1])
        backward = reproject(view2["pts3d"], view1["camera_intrinsics"], view1["camera_pose"], SIZE[::-1])
        shares.append(reciprocal_pairs(forward, backward).float().mean())
        return float(torch.stack(shares).mean())

    assert mean_matches(0.7, 0.9) > mean_matches(0.1, 0.25) + 0.1


def test_texture_lookup_is_exact_at_texel_centres_and_blends_levels() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (TEXTURE_SIZE, TEXTURE_SIZE, 3), dtype=np.uint8)
    bank = build_bank(
        [Image.new("RGB", (TEXTURE_SIZE, TEXTURE_SIZE), (10, 200, 60)), Image.fromarray(pixels)]
    )
    where = torch.tensor([[3.5, 100.5], [7.5, 511.5 + TEXTURE_SIZE]])
    colors = bank.sample(torch.tensor([1, 1], dtype=torch.int32), where, torch.ones(2))
    expected = torch.from_numpy(np.stack([pixels[7, 3], pixels[511, 100]], axis=1)) / 255
    torch.testing.assert_close(colors, expected)
    flat = bank.sample(
        torch.zeros(3, dtype=torch.int32), torch.rand(2, 3) * 512, torch.tensor([0.1, 9.7, 1e6])
    )
    torch.testing.assert_close(flat, torch.tensor([10, 200, 60])[:, None].expand(3, 3) / 255)
    mean = bank.sample(torch.tensor([1], dtype=torch.int32), torch.rand(2, 1), torch.tensor([512.0]))
    torch.testing.assert_close(
        mean[:, 0], torch.from_numpy(pixels.mean((0, 1)) / 255).float(), atol=0.02, rtol=0
    )


def test_rendering_is_the_same_in_any_grouping() -> None:
    _, stacked, cameras = pairs_of_scenes(3, SIZE[::-1])
    bank = build_bank([Image.effect_noise((TEXTURE_SIZE, TEXTURE_SIZE), 80).convert("RGB")] * 4)
    whole = render(stacked, bank, cameras, SIZE[::-1])
    alone = render(stacked, bank, cameras[2:3], SIZE[::-1])
    torch.testing.assert_close(whole.image[2], alone.image[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.depth[2], alone.depth[0])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SyntheticScenes(0, resolution=(32, 32))", "n > 0"),
        ("SyntheticScenes(resolution=(32, 64))", "width >= height"),
        ("SyntheticScenes(resolution=[])", "width >= height"),
        ("SyntheticScenes(resolution='64x32')", "width >= height"),
        ("SyntheticScenes(resolution=(64, 32), nneg=2)", "shares from 0 to 1"),
        ("SyntheticScenes(resolution=(64, 32), procedural=0)", "procedural > 0"),
        ("SyntheticScenes(resolution=(64, 32), n_corres=2049)", "64x32 pixels has no 2049"),
        ("SyntheticScenes(resolution=(64, 32), covisibility=0.5)", "covisibility is .least, most."),
        ("SyntheticScenes(resolution=(64, 32), fov=(90, 35))", "fov is .least, most."),
        ("SyntheticScenes(resolution=(64, 32), device='tpu')", "unknown device 'tpu'"),
    ],
)
def test_wrong_arguments(text: str, complaint: str) -> None:
    with pytest.raises(Mast3rError, match=complaint):
        parse_expression(text).build(["datasets"])


def test_a_texture_folder_without_photos(tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no photo"):
        dataset(textures=str(tmp_path)).batch([(0, 0)])


def test_works_in_an_expression() -> None:
    data = parse_expression("6 @ SyntheticScenes(50, resolution=[(48, 32), (32, 32)], procedural=8)").build(
        ["datasets"]
    )
    data.set_epoch(1)
    assert len(data) == 6
    assert data[(2, 1)][0]["img"].shape == (3, 32, 32)
