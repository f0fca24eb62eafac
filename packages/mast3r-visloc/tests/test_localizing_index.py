"""Features of map images on the disk (spec 50 D1, D3)."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mast3r_model import ImageError
from mast3r_visloc import Localizer
from mast3r_visloc.localizing import IndexReport, MapIndex, build_index
from mast3r_visloc.localizing.feature_files import read_features, write_features
from mast3r_visloc.localizing.index import INDEX_FOLDER, MANIFEST
from mast3r_visloc.localizing.retrieval_vectors import RETRIEVAL_FILE, pooled_tokens
from mast3r_visloc.maps import LocalizationMap, MapImage

from .patch_network import PatchNetwork
from .wave_world import make_map, shot

SIZE = 96
SHOTS = [shot("a.png", -0.4, yaw=3), shot("b.png", 0.2), shot("../c.png", 0.6, yaw=-3)]


@pytest.fixture
def known_map(tmp_path: Path) -> LocalizationMap:
    (tmp_path / "map").mkdir()
    return make_map(tmp_path / "map", SHOTS)


@pytest.fixture
def network() -> PatchNetwork:
    return PatchNetwork()


def built(known_map: LocalizationMap, network: Any, size: int = SIZE) -> IndexReport:
    return build_index(known_map, network, size=size)


def opened(known_map: LocalizationMap, network: Any) -> MapIndex:
    return MapIndex.of(known_map, network, size=SIZE, batch_size=2)


def files(report: IndexReport) -> set[Path]:
    return set(report.folder.glob("*.safetensors"))


def vectors_of(report: IndexReport) -> Path:
    return report.folder / RETRIEVAL_FILE


def test_it_encodes_once(known_map: LocalizationMap, network: PatchNetwork) -> None:
    done: list[int] = []
    first = build_index(known_map, network, size=SIZE, batch_size=2, progress=done.append)  # type: ignore[arg-type]
    assert (first.images, first.encoded, first.skipped) == (3, 3, ())
    assert done == [2, 1]
    assert first.folder.parent == known_map.source / INDEX_FOLDER
    assert first.bytes == sum(path.stat().st_size for path in files(first)) + vectors_of(first).stat().st_size
    manifest = json.loads((first.folder / MANIFEST).read_text())
    assert manifest["images"].keys() == {"a.png", "b.png", "../c.png"}
    assert {first.folder / name for name in manifest["images"].values()} == files(first)
    second = built(known_map, network)
    assert (second.images, second.encoded) == (3, 0)
    index = opened(known_map, network)
    assert index.folder == first.folder
    assert list(index.get([2, 0])) == [2, 0]
    assert network.encoded == 3
    index.close()
    assert len(files(first)) == 3


def test_names_are_no_paths(known_map: LocalizationMap, network: PatchNetwork) -> None:
    before = set(known_map.source.parent.rglob("*"))
    report = built(known_map, network)
    made = set(known_map.source.parent.rglob("*")) - before
    assert all(path.is_relative_to(known_map.source / INDEX_FOLDER) for path in made)
    assert len(files(report)) == 3


def test_features_are_those_that_were_encoded(known_map: LocalizationMap, network: PatchNetwork) -> None:
    index = opened(known_map, network)
    fresh, again = index.get([0])[0], index.get([0])[0]
    assert network.encoded == 1
    assert torch.equal(fresh.encoded.tokens, again.encoded.tokens)
    assert torch.equal(fresh.encoded.positions, again.encoded.positions)
    assert again.encoded.positions.dtype == torch.int64
    assert fresh.encoded.image_shape == again.encoded.image_shape == (64, 96)
    assert np.array_equal(fresh.transform.upright_from_file, again.transform.upright_from_file)
    assert fresh.transform.upright == again.transform.upright
    assert fresh.transform.original_shape == again.transform.original_shape
    index.close()


def test_local_feature_maps_are_kept(
    known_map: LocalizationMap, network: PatchNetwork, tmp_path: Path
) -> None:
    import dataclasses

    index = opened(known_map, network)
    features = index.get([0])[0]
    local = (torch.randn(3, 4, 6).half().float(), torch.randn(2, 8, 12).half().float())
    with_local = dataclasses.replace(features, encoded=dataclasses.replace(features.encoded, local=local))
    write_features(tmp_path / "features", with_local)
    found = read_features(tmp_path / "features")
    assert found is not None
    assert found.encoded.local is not None
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found.encoded.local, local, strict=True))
    index.close()


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_file_is_made_again(known_map: LocalizationMap, network: PatchNetwork, damage: str) -> None:
    report = built(known_map, network)
    index = opened(known_map, network)
    healthy = index.get([0, 1, 2])
    for path in files(report):
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-100])
        elif damage == "empty":
            path.write_bytes(b"")
        else:
            save_file({"tokens": torch.zeros(2, 2)}, path, metadata={"about": json.dumps({"format": "?"})})
    encoded = network.encoded
    mended = index.get([0, 1, 2])
    assert network.encoded == encoded + 3
    for number in range(3):
        assert torch.equal(mended[number].encoded.tokens, healthy[number].encoded.tokens)
    index.get([0, 1, 2])
    assert network.encoded == encoded + 3


def test_what_is_no_feature_file(tmp_path: Path) -> None:
    assert read_features(tmp_path / "missing") is None
    save_file({"tokens": torch.zeros(2, 2)}, tmp_path / "bare")
    assert read_features(tmp_path / "bare") is None


def test_a_replaced_photo_is_encoded_again(known_map: LocalizationMap, network: PatchNetwork) -> None:
    before = files(built(known_map, network))
    index = opened(known_map, network)
    old = index.get([0])[0]
    shot("a.png", 1.5).save(known_map.source)
    new = index.get([0])[0]
    assert not torch.equal(new.encoded.tokens, old.encoded.tokens)
    report = built(known_map, network)
    assert report.images == 3
    assert len(files(report)) == 3
    assert len(files(report) & before) == 2  # the old photo's file is gone


def test_networks_and_sizes_have_their_own_folders(known_map: LocalizationMap) -> None:
    one, other = PatchNetwork(), PatchNetwork(fingerprint="others")
    folders = {built(known_map, one).folder, built(known_map, other).folder, built(known_map, one, 48).folder}
    assert len(folders) == 3
    assert opened(known_map, other).folder in folders
    unknown = opened(known_map, PatchNetwork(fingerprint="third"))
    assert unknown.folder not in folders
    unknown.close()


def test_a_temporary_index_is_deleted(known_map: LocalizationMap, network: PatchNetwork) -> None:
    with Localizer(known_map, network, retrieval="all", size=SIZE) as localizer:  # type: ignore[arg-type]
        folder = localizer.index.folder
        localizer.localize(known_map.images[0].path, camera=known_map.images[0].camera)
        assert len(list(folder.glob("*.safetensors"))) == 3
    assert not folder.exists()
    assert not (known_map.source / INDEX_FOLDER).exists()


def test_poses_are_the_same_with_an_index_and_without(known_map: LocalizationMap, tmp_path: Path) -> None:
    query = shot("query.png", 0.1, 0.1, yaw=1)
    query.save(tmp_path)
    poses = []
    for network in (PatchNetwork(), PatchNetwork()):
        with Localizer(known_map, network, retrieval="encoder", size=SIZE) as localizer:  # type: ignore[arg-type]
            poses.append(localizer.localize(tmp_path / "query.png", camera=query.camera))
        built(known_map, PatchNetwork())
    assert network.encoded == 1  # the query alone
    assert poses[0].success
    assert poses[0].cam2world is not None
    assert np.array_equal(poses[0].cam2world, poses[1].cam2world)
    assert np.array_equal(poses[0].correspondences.query_xy, poses[1].correspondences.query_xy)


def test_photos_that_cannot_be_read_are_left_out_and_named_once(
    known_map: LocalizationMap, network: PatchNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    known_map.images[0].path.write_text("no photo")
    known_map.images[1].path.unlink()
    with caplog.at_level(logging.WARNING, "mast3r.visloc"):
        index = opened(known_map, network)
        assert list(index.get([0, 1, 2])) == list(index.get([0, 1, 2])) == [2]
    assert sum("a.png" in record.message for record in caplog.records) == 1
    assert sum("b.png" in record.message for record in caplog.records) == 1
    report = built(known_map, network)
    assert report.skipped == ("a.png", "b.png")
    assert report.images == 1
    index.close()


def test_no_photo_at_all_is_an_error(known_map: LocalizationMap, network: PatchNetwork) -> None:
    missing = [MapImage("x", known_map.source / "x.png", None, None)]
    with pytest.raises(ImageError, match="no image of the map can be read"):
        built(LocalizationMap(missing, known_map.source, "test"), network)


def test_retrieval_vectors_are_read_and_features_are_not(
    known_map: LocalizationMap, network: PatchNetwork
) -> None:
    """Spec 50 D1: of a large map a shortlist is made without reading the features of all its images."""
    index = opened(known_map, network)
    expected = {number: pooled_tokens(found.encoded) for number, found in index.get([0, 1, 2]).items()}
    index.close()
    report = built(known_map, network)
    for path in files(report):
        path.write_bytes(b"not to be looked at")
    encoded = network.encoded
    found = opened(known_map, network).pooled([2, 0, 1])
    assert network.encoded == encoded
    assert list(found) == [2, 0, 1]
    for number, vector in found.items():
        assert torch.equal(vector, expected[number])
        assert float(vector.norm()) == pytest.approx(1, abs=1e-3)
    assert not opened(known_map, PatchNetwork(fingerprint="other")).folder.is_relative_to(report.folder)


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "other"])
def test_retrieval_vectors_are_made_again(
    known_map: LocalizationMap, network: PatchNetwork, damage: str
) -> None:
    report = built(known_map, network)
    healthy = opened(known_map, network).pooled([0, 1, 2])
    content = vectors_of(report).read_bytes()
    vectors_of(report).unlink()
    if damage == "other":
        np.savez(vectors_of(report), files=np.array(["a"]), vectors=np.zeros(3))
    elif damage != "missing":
        vectors_of(report).write_bytes(content[:-90] if damage == "cut" else b"")
    mended = opened(known_map, network).pooled([0, 1, 2])
    assert all(torch.equal(mended[number], healthy[number]) for number in range(3))
    assert vectors_of(built(known_map, network)).read_bytes()[:4] == b"PK\x03\x04"
    assert network.encoded == 3


def test_the_vector_of_a_replaced_photo_is_made_again(
    known_map: LocalizationMap, network: PatchNetwork
) -> None:
    built(known_map, network)
    old = opened(known_map, network).pooled([0, 1])
    shot("a.png", 1.5).save(known_map.source)
    new = opened(known_map, network).pooled([0, 1])
    assert not torch.equal(new[0], old[0])
    assert torch.equal(new[1], old[1])
    assert network.encoded == 4


def test_photos_that_cannot_be_read_have_no_vector(known_map: LocalizationMap, network: PatchNetwork) -> None:
    known_map.images[1].path.write_text("no photo")
    built(known_map, network)
    assert list(opened(known_map, network).pooled([0, 1, 2])) == [0, 2]


def test_a_large_map_is_searched_by_its_vectors(
    known_map: LocalizationMap, network: PatchNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an index, features are read of a sample, once, and of the shortlist."""
    monkeypatch.setattr("mast3r_visloc.localizing.retrieval.SHORTLIST", 1)
    built(known_map, network)
    read: list[int] = []
    original = MapIndex.get
    monkeypatch.setattr(
        MapIndex, "get", lambda index, numbers: read.extend(numbers) or original(index, numbers)
    )
    with Localizer(known_map, network, retrieval="encoder", size=SIZE) as localizer:  # type: ignore[arg-type]
        sampled = list(read)
        for _ in range(2):
            pose = localizer.localize(known_map.images[1].path, camera=known_map.images[1].camera)
            assert list(pose.candidates) == ["b.png"]
    assert sampled == []
    assert read.count(0) == 1  # the first of every so many, to fit the whitening to
    assert 2 not in read
