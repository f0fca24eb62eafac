"""Upstream's other pages are mappers here: each makes a scene of a session's photos (spec 60 A3, A4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mast3r_demo
from mast3r_demo.reconstruction import Reconstruction, reconstruct_photos
from mast3r_demo.session import SessionStore
from mast3r_demo.settings import Mapper, ReconstructionSettings
from mast3r_model import AsymmetricCroCo3DStereo, load_model

STILL_LIFE = Path(mast3r_demo.__file__).parent / "quickstart" / "still_life" / "photos"


@pytest.fixture(scope="module")
def model() -> AsymmetricCroCo3DStereo:
    return load_model("nano", device="cpu")


@pytest.mark.parametrize("mapper", ["dense", "colmap", "glomap"])
def test_a_mapper_makes_a_scene(model: AsymmetricCroCo3DStereo, mapper: Mapper, tmp_path: Path) -> None:
    settings = ReconstructionSettings(
        mapper=mapper,
        image_size=96 if mapper == "dense" else 160,
        quality="refine",
        iterations=10 if mapper == "dense" else 300,
    )
    photos = sorted(STILL_LIFE.iterdir())[:3]
    with SessionStore(tmp_path / "sessions") as store:
        session = store.create()
        copies = session.add_uploads(photos, [photo.suffix for photo in photos])

        def work(control: object) -> Reconstruction:
            return reconstruct_photos(model, copies, settings, session, control)

        job = session.run(work, seconds=300)
        list(job.events())
        result = job.result()
        assert result.settings.mapper == mapper
        assert len(result.scene.images) == 3
        centres = np.stack([image.cam2world[:3, 3] for image in result.scene.images])
        assert np.ptp(centres, axis=0).max() > 0
        assert len(result.scene.points) > 100
