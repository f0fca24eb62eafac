"""`Habitat512`: rendered rooms, five views of a place (spec 41 section 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mast3r_model import ConfigError
from mast3r_train.errors import SampleError
from mast3r_train.geometry.orientation import View
from mast3r_train.views import PairDataset

from .cameras import Camera
from .files import load_text_lines, missing_layout, read_exr, read_json, read_rgb

VIEWS = 5
"""Views of a place; the first one overlaps all others."""


class Habitat512(PairDataset):
    """Pairs of the first view of a place with one of its four others.

    Args:
        size: which list of places: ``1_000``, ``10_000``, ``100_000``, ``1_000_000``.
        split: ``'train'`` or ``'val'``.
        options: those of :class:`PairDataset`.

    Raises:
        ConfigError: another split.
        InputError: the folder has no such list.
    """

    is_metric_scale = True
    default_folder = "habitat_processed"
    names = ("Habitat512", "Habitat")

    def __init__(self, size: int, *, split: str, **options: Any) -> None:
        super().__init__(split=split, **options)
        if split not in ("train", "val"):
            raise ConfigError(f"Habitat512 has split='train' and 'val', got {split!r}")
        list_name = f"Habitat_{size}_scenes_{split}.txt"
        if not (self.root / list_name).is_file():
            known = sorted(path.name for path in self.root.glob("Habitat_*_scenes_*.txt"))
            others = f"it has {', '.join(known)}; `mast3r data prepare habitat --sizes N` makes others"
            raise missing_layout("Habitat", self.root, list_name, others if known else None)
        self.places = load_text_lines(self.root / list_name)
        self._require_pairs(self.root / list_name)

    def __len__(self) -> int:
        return len(self.places)

    def _get_views(self, index: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[View]:
        place = self.places[index]
        chosen = (0, int(rng.choice([1, 2, 3, 4])))
        return [self._usable_view(place, number, resolution, rng) for number in chosen]

    def _usable_view(
        self, place: str, number: int, resolution: tuple[int, int], rng: np.random.Generator
    ) -> View:
        """A view, or the next one of the place whose files are there and whose pose is finite."""
        problems = []
        for offset in range(VIEWS - 1):
            stem = f"{place}_{(number + offset) % VIEWS + 1}"
            try:
                camera = self._camera(stem)
                image = read_rgb(self.root / f"{stem}.jpeg")
                depth = read_exr(self.root / f"{stem}_depth.exr")
            except SampleError as error:
                problems.append(error.message)
                continue
            folder, _, batch = place.rpartition("/")
            return self._view_of(
                image, depth, camera, resolution, rng,
                dataset="Habitat", label=folder, instance=f"{batch}_{number}", info=stem,
            )  # fmt: skip
        raise SampleError(f"no usable view of {place}: {'; '.join(problems)}")

    def _camera(self, stem: str) -> Camera:
        path = self.root / f"{stem}_camera_params.json"
        stored = read_json(path)
        try:
            cam2world = np.eye(4, dtype=np.float32)
            cam2world[:3, :3] = stored["R_cam2world"]
            cam2world[:3, 3] = stored["t_cam2world"]
            intrinsics = np.array(stored["camera_intrinsics"], dtype=np.float32).reshape(3, 3)
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(f"{path} is no camera file: {error}") from error
        if not np.isfinite(cam2world).all():
            raise SampleError(f"{path}: the pose is not finite")
        return intrinsics, cam2world
