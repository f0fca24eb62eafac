"""Many views of one scene with everything known about them, for tests of reconstruction (spec 70)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from mast3r_model import ConfigError, NothingFoundError
from mast3r_model.files import atomic_write

from .camera_effects import photograph
from .paths import CameraPath, PathKind, find_path
from .primitives import SceneBatch
from .rendering import render
from .scenes import make_scene
from .textures import load_bank
from .viewpoints import Lens, intrinsics_for

_SCENES_TRIED = 40

OPENGL_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""Cameras of a ``transforms.json`` look along -z, y up; ours along +z, y down."""


@dataclass(frozen=True, eq=False)
class SceneViews:
    """Views of one scene; all values hold exactly at pixel centres.

    Attributes:
        images: (n, h, w, 3) RGB.
        depth: (n, h, w) z in metres, 0 where only sky is seen.
        intrinsics: (n, 3, 3) float64 in pixels, an integer at a pixel's centre.
        cam2world: (n, 4, 4) float64, x right, y down, z forward; metres.
        names: of the images' files.
    """

    images: UInt8[np.ndarray, "n h w 3"]
    depth: Float[np.ndarray, "n h w"]
    intrinsics: Float[np.ndarray, "n 3 3"]
    cam2world: Float[np.ndarray, "n 4 4"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of views."""
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every image."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def radius(self) -> float:
        """Root mean square distance of the cameras from their centre, in metres."""
        centers = self.cam2world[:, :3, 3]
        return float(np.sqrt(((centers - centers.mean(0)) ** 2).sum(1).mean()))

    def save(self, folder: str | Path) -> Path:
        """Write ``images/*.png`` and the true cameras as ``transforms.json`` (nerfstudio's).

        Args:
            folder: made if it is missing.

        Returns:
            The folder of the images.

        Raises:
            OutputError: it cannot be written.
        """
        folder = Path(folder)
        for name, image in zip(self.names, self.images, strict=True):
            with atomic_write(folder / "images" / name) as temporary:
                Image.fromarray(image).save(temporary)
        frames = [self._frame(index) for index in range(len(self))]
        document = {"camera_model": "PINHOLE", "frames": frames}
        with atomic_write(folder / "transforms.json") as temporary:
            temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        return folder / "images"

    def _frame(self, index: int) -> dict[str, object]:
        K, (height, width) = self.intrinsics[index], self.shape
        return {
            "file_path": f"images/{self.names[index]}",
            "w": width,
            "h": height,
            "fl_x": float(K[0, 0]),
            "fl_y": float(K[1, 1]),
            "cx": float(K[0, 2]) + 0.5,  # there, an integer is a pixel's corner
            "cy": float(K[1, 2]) + 0.5,
            "transform_matrix": (self.cam2world[index] @ OPENGL_AXES).tolist(),
        }


@torch.no_grad()
def render_scene_views(
    seed: int,
    views: int = 8,
    *,
    path: PathKind = "orbit",
    shape: tuple[int, int] = (240, 320),
    fov: tuple[float, float] = (45.0, 75.0),
    same_focal: bool = True,
    principal_point: float = 0.0,
    effects: bool = True,
    textures: str | None = None,
    procedural: int = 48,
) -> SceneViews:
    """Render views of one random scene::

        views = render_scene_views(seed=3, views=8, path="orbit")
        views.save("scenes/3")     # images/000.png ..., transforms.json

    Equal arguments give equal views. Scenes are drawn until one has a path whose neighbours see enough of the
    same (see `find_path`).

    Args:
        seed: of everything.
        views: number of views, at least 2.
        path: ``orbit`` around something, ``walk`` along a curve, or ``random``: from anywhere, in no order.
        shape: (height, width) of the images.
        fov: least and most field of view over the long side, in degrees.
        same_focal: one focal length for all views.
        principal_point: standard deviation of its distance from the image's centre, in pixels, each axis.
        effects: exposure, colours, blur and noise of a camera.
        textures: folder of photos used as textures beside the procedural ones, or None.
        procedural: number of procedural textures; 48 take 5 seconds to make, once a process.

    Raises:
        ConfigError: fewer than two views.
        NothingFoundError: no such path in many scenes.
    """
    if views < 2:
        raise ConfigError(f"a path has at least 2 views, got {views}")
    rng = np.random.default_rng([seed, 70])
    bank = load_bank(textures, 0, procedural)
    lens = Lens(fov_degrees=fov, same_focal=same_focal)
    for _ in range(_SCENES_TRIED):
        scene = make_scene(rng, bank.count)
        batch = SceneBatch.stack([scene], torch.device("cpu"))
        found = find_path(scene, batch, rng, views=views, kind=path, shape=shape, lens=lens)
        if found is not None:
            break
    else:
        raise NothingFoundError(
            f"no {path} of {views} views with overlap in {_SCENES_TRIED} scenes of seed {seed}",
            "take another seed, more views or a wider field of view",
        )
    offset = rng.normal(0, principal_point, (views, 2)) if principal_point else np.zeros((views, 2))
    rendered = render(batch, bank, found.cameras(shape, offset), shape)
    image = rendered.image
    if effects:
        image = photograph(image, [np.random.default_rng([seed, 71, view]) for view in range(views)])
    return _as_arrays(found, image, rendered.depth, intrinsics_for(found.fov, shape, offset))


def _as_arrays(
    path: CameraPath, image: torch.Tensor, depth: torch.Tensor, intrinsics: Float[np.ndarray, "n 3 3"]
) -> SceneViews:
    pixels = (image.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).to(torch.uint8)
    return SceneViews(
        images=np.ascontiguousarray(pixels.numpy()),
        depth=depth.numpy(),
        # What the renderer computed with, so that depth and cameras agree to the last bit.
        intrinsics=intrinsics.astype(np.float32).astype(np.float64),
        cam2world=path.cam2world.astype(np.float32).astype(np.float64),
        names=tuple(f"{index:03d}.png" for index in range(len(depth))),
    )
