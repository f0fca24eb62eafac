"""Which map images to try (spec 50 D2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from mast3r_match.retrieval import Whitening
from mast3r_match.retrieval.encoder_retriever import fit_to_images
from mast3r_model import InputError
from mast3r_visloc import Candidate, Query
from mast3r_visloc.localizing import MapIndex, retrieval
from mast3r_visloc.localizing.photos import read_photo
from mast3r_visloc.localizing.retrieval import candidate_finder

from .patch_network import PatchNetwork
from .wave_world import make_map, shot

SIZE = 48
SHOTS = [shot(f"{number}.png", number - 3.0, yaw=10 * number - 30, shape=(32, 48)) for number in range(7)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[MapIndex]:
    made = MapIndex(make_map(tmp_path, SHOTS), PatchNetwork(), size=SIZE, folder=None)  # type: ignore[arg-type]
    yield made
    made.close()


def names(index: MapIndex, how: str, query: str = "q", shows: str = "3.png", **options: object) -> list[str]:
    """Candidates of a query that is a copy of a map image."""
    path = index.map.images[index.map.index_of[shows]].path
    encoded = index.model.encode([read_photo(path, size=SIZE, patch_size=16).tensor])[0]
    finder = candidate_finder(how, index, **{"topk": 3, **options})  # type: ignore[arg-type]
    return [candidate.name for candidate in finder(Query(query, path), encoded)]


def test_all(index: MapIndex) -> None:
    assert names(index, "all") == [shot.name for shot in SHOTS]


def test_pairs(index: MapIndex) -> None:
    pairs = {"q": [Candidate(name, 1.0) for name in ("5.png", "away.png", "1.png", "0.png", "2.png")]}
    assert names(index, "pairs", pairs=pairs) == ["5.png", "1.png", "0.png"]
    with pytest.raises(InputError, match="does not name the query 'other'"):
        names(index, "pairs", "other", pairs=pairs)
    with pytest.raises(InputError, match="needs a list of pairs"):
        names(index, "pairs")


def test_near(index: MapIndex) -> None:
    prior = np.eye(4)
    prior[:3, 3] = 0.2, 0, 0
    priors = {"q": prior}
    assert names(index, "near", priors=priors) == ["3.png", "4.png", "2.png"]
    assert names(index, "near", priors=priors, topk=20, radius=1.3) == ["3.png", "4.png", "2.png"]
    assert names(index, "near", priors=priors, topk=20, radius=1.1) == ["3.png", "4.png"]
    assert names(index, "near", priors=priors, topk=20, radius=0.1) == []
    with pytest.raises(InputError, match="no rough pose of 'other'"):
        names(index, "near", "other", priors=priors)
    with pytest.raises(InputError, match="needs rough poses"):
        names(index, "near")


def test_near_means_looking_the_same_way_too(index: MapIndex) -> None:
    """Map image n looks 10 n - 30 degrees to the right, the prior 15 degrees to the left: 60 are allowed."""
    prior = shot("prior", 0.0, yaw=-15).pose
    found = names(index, "near", priors={"q": prior}, topk=20)
    assert set(found) == {f"{number}.png" for number in range(7)}
    prior = shot("prior", 0.0, yaw=-45).pose
    assert set(names(index, "near", priors={"q": prior}, topk=20)) == {
        "0.png",
        "1.png",
        "2.png",
        "3.png",
        "4.png",
    }


def test_near_a_place_looks_anywhere(index: MapIndex) -> None:
    """GPS says where, not whereto."""
    place = shot("prior", 0.2, yaw=180).pose[:3, 3]
    assert names(index, "near", priors={"q": place}) == ["3.png", "4.png", "2.png"]
    assert names(index, "near", priors={"q": place}, topk=20, radius=1.1) == ["3.png", "4.png"]


def test_near_leaves_out_images_without_a_pose(index: MapIndex) -> None:
    object.__setattr__(index.map.images[3], "cam2world", None)
    assert names(index, "near", priors={"q": np.eye(4)}) == ["2.png", "4.png", "1.png"]


@pytest.mark.parametrize("how", ["encoder", "auto"])
def test_the_photo_itself_is_most_alike(index: MapIndex, how: str) -> None:
    done: list[int] = []
    for shows in ("0.png", "4.png"):
        found = names(index, how, shows=shows, progress=done.append)
        assert found[0] == shows
        assert len(found) == len(set(found)) == 3
    assert sum(done) == 2 * len(SHOTS)


def test_of_large_maps_a_shortlist_is_compared(index: MapIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "SHORTLIST", 2)
    found = names(index, "encoder", shows="4.png", topk=5)
    assert found[0] == "4.png"
    assert len(found) == 2
    monkeypatch.setattr(retrieval, "SHORTLIST", 4)
    assert len(names(index, "encoder", shows="4.png", topk=3)) == 3


def test_of_large_maps_the_whitening_is_fitted_once(index: MapIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []

    def fit(images: Sequence[Tensor]) -> Whitening:
        fitted.append(len(images))
        return fit_to_images(images)

    monkeypatch.setattr("mast3r_match.retrieval.encoder_retriever.fit_to_images", fit)
    monkeypatch.setattr(retrieval, "SHORTLIST", 4)
    finder = candidate_finder("encoder", index, topk=2)
    for image in index.map.images:
        encoded = index.model.encode([read_photo(image.path, size=SIZE, patch_size=16).tensor])[0]
        assert finder(Query("q", image.path), encoded)[0].name == image.name
    assert fitted == [4]


@pytest.mark.parametrize("shortlist", [2, 200])
def test_unreadable_photos_are_no_candidates(
    index: MapIndex, shortlist: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "SHORTLIST", shortlist)
    index.map.images[2].path.write_text("no photo")
    assert "2.png" not in names(index, "encoder", topk=20)


def test_an_unknown_name(index: MapIndex) -> None:
    with pytest.raises(InputError, match="unknown retriever 'netvlad'"):
        names(index, "netvlad")
