"""``mast3r visloc prepare``: what it says, query pairs by retrieval, and what needs a network (spec 50 D8)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mast3r_match import Matches
from mast3r_model import InputError
from mast3r_model.cli import CommandContext
from mast3r_model.cli.console import Console
from mast3r_visloc.datasets import VislocCambridgeLandmarks
from mast3r_visloc.formats import read_pairs
from mast3r_visloc.preparing import PreparationRequest, prepare
from mast3r_visloc.preparing.command import PrepareNetwork, run_prepare
from mast3r_visloc.preparing.network import NetworkMatcher, retrieval_candidates

from .raw_releases import CambridgeTruth, make_cambridge, make_inloc


class ByBrightness:
    """A retriever to whom photos of like brightness look alike."""

    def describe(self, images: list[Path]) -> list[float]:
        return [float(path.stat().st_size) for path in images]

    def similarity(self, queries: list[float], database: list[float]) -> np.ndarray:
        return -np.abs(np.subtract.outer(queries, database))


@pytest.fixture
def request_(tmp_path: Path) -> PreparationRequest:
    make_cambridge(tmp_path / "raw")
    return PreparationRequest("cambridge", tmp_path / "raw", tmp_path / "out")


def no_network() -> None:
    raise AssertionError("no network is needed")


def test_it_says_what_is_missing_and_what_to_run_next(
    request_: PreparationRequest, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    context = CommandContext("visloc prepare", Console(progress="none"))
    run_prepare(context, request_, PrepareNetwork(no_network))
    said = capsys.readouterr()
    assert "5 files linked" in said.out
    assert "not in the raw folder: GreatCourt, KingsCollege, OldHospital, StMarysChurch" in said.err
    assert context.exit_code == 3
    pairs = tmp_path / "top.txt"
    pairs.write_text("".join(f"{query}, {CambridgeTruth.train[0]}, 0.5\n" for query in CambridgeTruth.test))
    context = CommandContext("visloc prepare", Console(progress="none"))
    run_prepare(context, dataclasses.replace(request_, pairs=pairs), PrepareNetwork(no_network))
    said = capsys.readouterr()
    assert context.exit_code == 0
    assert (
        f"VislocCambridgeLandmarks({str(request_.out)!r}, subscene='ShopFacade', pairsfile='top'" in said.err
    )


def test_the_document_holds_the_report(request_: PreparationRequest, capsys: pytest.CaptureFixture) -> None:
    (request_.raw / "ShopFacade/seq1/frame00001.png").unlink()
    context = CommandContext("visloc prepare", Console(json=True))
    report = run_prepare(context, request_, PrepareNetwork(no_network))
    result = context.results()
    assert capsys.readouterr().out == ""
    assert result["problems"] == dict(report.problems)
    assert list(report.problems) == ["ShopFacade/seq1/frame00001.png"]
    assert (result["linked"], result["copied"], result["complete"]) == (4, 0, False)
    assert list(result["missing_pairs"]) == ["ShopFacade"]


def test_pairs_by_retrieval(request_: PreparationRequest) -> None:
    finder = retrieval_candidates(ByBrightness(), "brightness", topk=2)
    report = prepare(request_, find_candidates=finder)
    assert report.complete
    written = request_.out / "ShopFacade/pairsfile/query/brightness_top2.txt"
    pairs = read_pairs(written)
    sizes = {
        name: (request_.raw / "ShopFacade" / name).stat().st_size
        for name in (*CambridgeTruth.train, *CambridgeTruth.test)
    }
    for query in CambridgeTruth.test:
        best = sorted(CambridgeTruth.train, key=lambda name: abs(sizes[name] - sizes[query]))[:2]
        assert [pair.map_image for pair in pairs[query]] == best
    dataset = VislocCambridgeLandmarks(request_.out, "ShopFacade", "brightness_top2", topk=2)
    assert len(dataset.candidates(0)) == 2
    assert prepare(request_, find_candidates=finder).made == 0


def test_a_folder_of_pairs_is_looked_through(request_: PreparationRequest, tmp_path: Path) -> None:
    make_cambridge(request_.raw, "OldHospital")
    line = "".join(f"{query}, {CambridgeTruth.train[0]}, 0.5\n" for query in CambridgeTruth.test)
    other = tmp_path / "pairs" / "OldHospital" / "pairsfile" / "query"
    other.mkdir(parents=True)
    (other / "top50.txt").write_text(line)
    (tmp_path / "pairs" / "ShopFacade.txt").write_text(line)
    report = prepare(dataclasses.replace(request_, pairs=tmp_path / "pairs"))
    assert report.complete
    assert (request_.out / "OldHospital/pairsfile/query/top50.txt").read_text() == line
    assert (request_.out / "ShopFacade/pairsfile/query/ShopFacade.txt").read_text() == line
    with pytest.raises(InputError, match="no such file or folder of pairs"):
        prepare(dataclasses.replace(request_, pairs=tmp_path / "nowhere"))
    one = dataclasses.replace(request_, pairs=tmp_path / "pairs" / "ShopFacade.txt")
    with pytest.raises(InputError, match="2 scenes are prepared"):
        prepare(one)
    assert prepare(dataclasses.replace(one, scenes=("ShopFacade",))).complete


@pytest.mark.parametrize(
    ("benchmark", "options", "said"),
    [
        ("inloc", {"legacy_registration": True}, "--legacy-registration is for 7scenes"),
        ("aachen", {"points": "triangulate"}, "--points triangulate is for cambridge"),
        ("7scenes", {"cutout_poses": True}, "--cutout-poses is for inloc"),
        ("inloc", {"scenes": ("DUC1",)}, "--scene is for cambridge or 7scenes"),
        ("7-scenes", {}, "unknown benchmark"),
    ],
)
def test_options_of_another_benchmark_are_refused(
    tmp_path: Path, benchmark: str, options: dict, said: str
) -> None:
    make_inloc(tmp_path / "raw")
    with pytest.raises(InputError, match=said):
        prepare(PreparationRequest(benchmark, tmp_path / "raw", tmp_path / "out", **options))


@pytest.mark.slow
def test_the_networks_matches_are_exact_to_the_bit_where_tracks_meet(request_: PreparationRequest) -> None:
    """Equal pixels of one photo in two pairs must be equal floats, or triangulation finds no tracks."""
    from mast3r_model import load_model

    photos = [request_.raw / "ShopFacade" / name for name in CambridgeTruth.train]
    found: list[Matches] = list(NetworkMatcher(load_model("nano", device="cpu"))(photos, [(0, 1), (0, 2)]))
    assert [len(matches) > 0 for matches in found] == [True, True]
    assert {Path(matches.name0).name for matches in found} == {"frame00001.png"}
    first, second = (set(map(tuple, matches.keypoints0.tolist())) for matches in found)
    grid = found[0].transform0.points_to_network(np.array(sorted(first | second), np.float64))
    assert np.abs(grid - np.rint(grid)).max() < 1e-3
    assert len({tuple(row) for row in np.rint(grid).astype(int)}) == len(first | second)
