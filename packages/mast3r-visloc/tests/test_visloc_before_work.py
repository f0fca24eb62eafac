"""What ``mast3r visloc`` says before a network is loaded, a line of JSON for each photo, and --dry-run (60 F2)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mast3r_model.cli import ModelOptions
from mast3r_visloc import pose_error, read_map
from mast3r_visloc.commands.retrieval_choice import checkpoint_at_hand, choose_retrieval

from .colour_network import ColourNetwork
from .painted_wall import MAP, QUERIES, pose_line, write_colmap, write_map
from .visloc_cli import Visloc, refused, wall_expression

CAMERA = MAP[0].camera_spec
SMALL = ("--size", 128)
KNOWN = (*SMALL, "--camera", CAMERA)
NAMES = [shot.name for shot in QUERIES]


@pytest.fixture
def no_network(visloc: Visloc, monkeypatch: pytest.MonkeyPatch) -> Visloc:
    """Commands that fail if they load a network."""

    def load(*_: object) -> None:
        raise AssertionError("a network is loaded")

    monkeypatch.setattr(ModelOptions, "load", load)
    return visloc


def a_full_folder(out: Path) -> None:
    out.mkdir()
    (out / "diary.txt").write_text("mine")


def a_file(out: Path) -> None:
    out.write_text("mine")


def a_colmap_project(out: Path) -> None:
    write_colmap(out / "colmap" / "0")


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (a_full_folder, "is not empty and holds no run"),
        (a_file, "out: Not a directory"),
        (a_colmap_project, "holds files that no run wrote"),
    ],
)
@pytest.mark.parametrize("command", ["localize", "evaluate"])
def test_outputs_that_are_in_the_way(no_network: Visloc, wall: Path, command: str, make, part: str) -> None:
    make(Path("out"))
    before = sorted(path.name for path in Path().rglob("*"))
    words = (wall / "map", wall / "queries") if command == "localize" else (wall_expression(wall),)
    refused(no_network(command, *words, *SMALL, "-o", "out"), part)
    assert sorted(path.name for path in Path().rglob("*")) == before


@pytest.mark.parametrize("command", ["localize", "evaluate"])
def test_a_run_of_other_options_is_in_the_way(
    visloc: Visloc, wall: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: tuple[object, ...] = (wall / "map", wall / "queries" / NAMES[0], "--camera", CAMERA)
    if command == "evaluate":
        words = (wall_expression(wall), "--limit", 1)
    assert visloc(command, *words, *SMALL, "-o", "out").code == 0
    monkeypatch.setattr(ModelOptions, "load", lambda *_: pytest.fail("a network is loaded"))
    ran = visloc(command, *words, *SMALL, "--min-inliers", 20, "-o", "out")
    refused(ran, "holds a run with other options: min_inliers was 12 and is 20")


def test_evaluate_does_not_replace_the_map(no_network: Visloc, wall: Path) -> None:
    """A run's colmap/ is a map for a next run, of evaluate too."""
    write_colmap(Path("out/colmap"))
    Path("out/records.jsonl").touch()
    shutil.copytree(wall / "map/images", "images")
    Path("list.txt").write_text(f"{MAP[0].name}\n")
    Path("pairs.txt").write_text(f"{MAP[0].name} {MAP[1].name}\n")
    text = "ColmapMap('out/colmap', images='images', queries='list.txt', pairsfile='pairs.txt')"
    refused(
        no_network("evaluate", text, "-o", "out", "--overwrite"), "is the map, and -o out would replace it"
    )
    assert (Path("out/colmap") / "points3D.bin").is_file()


@pytest.mark.parametrize("command", ["localize", "index", "evaluate"])
def test_sizes_beyond_memory_are_a_usage_error(no_network: Visloc, wall: Path, command: str) -> None:
    words = {
        "localize": (wall / "map", wall / "queries"), "index": (wall / "map",), "evaluate": (wall_expression(wall),)
    }[command]  # fmt: skip
    ran = no_network(command, *words, "--size", 100_000)
    assert ran.code == 2
    assert "100000 is not in the range 32<=x<=2048" in ran.err


def test_flags_of_fine_without_it_are_told(visloc: Visloc, wall: Path) -> None:
    words = (
        "localize",
        wall / "map",
        wall / "queries" / NAMES[0],
        *KNOWN,
        "--max-image-size",
        200,
        "--homography",
    )
    ran = visloc(*words)
    assert "--max-image-size is not used: it is of --fine" in ran.err
    assert "--homography is not used: it is of --fine" in ran.err
    assert "is not used" not in visloc(*words, "--fine").err


def test_messages_are_without_the_systems_numbers(visloc: Visloc, wall: Path) -> None:
    words = ("localize", wall / "map", wall / "queries" / NAMES[0], "--queries", "absent.txt")
    refused(visloc(*words), "cannot read absent.txt: No such file or directory")
    assert "Errno" not in visloc(*words).err
    Path("run").mkdir()
    assert "Errno" not in visloc("export", "run", "--format", "csv").err


def test_posed_photos_without_points_were_tried(visloc: Visloc, wall: Path) -> None:
    """They were no candidates, as if there were none, because only photos with points are matched."""
    shutil.copytree(wall / "map" / "images", "map/images")
    write_colmap(Path("map/sparse/0"), xyz=np.empty((0, 3)))
    unreachable = ("--min-inliers", 100_000)
    ran = visloc("localize", "map", wall / "queries" / NAMES[0], *KNOWN, "--align", *unreachable, "--json")
    assert ran.code == 4
    assert "few_inliers" in ran.document["error"]["message"]
    shown = visloc("localize", "map", wall / "queries" / NAMES[0], *KNOWN, "--align", *unreachable)
    assert "too few inliers (0 < 100000)   nearest photo: map_" in shown.out


# Lines of JSON


@pytest.mark.parametrize("command", ["localize", "evaluate"])
def test_a_line_of_json_for_each_photo(visloc: Visloc, wall: Path, command: str) -> None:
    words: tuple[object, ...] = (wall / "map", wall / "queries", "--camera", CAMERA)
    if command == "evaluate":
        words = (wall_expression(wall),)
    whole = visloc(command, *words, *SMALL, "--json").result["queries"]
    for _ in range(2):  # the second time they are done already
        lines = visloc(command, *words, *SMALL, "--jsonl", "-o", "out").out.splitlines()
        *items, document = map(json.loads, lines)
        assert [item["name"] for item in items] == [item["name"] for item in whole]
        assert [item["cam2world"] for item in items] == [item["cam2world"] for item in whole]
        assert document["ok"]
        assert not document["result"].get("queries")


# Where queries are roughly known


def test_evaluate_near_rough_poses(visloc: Visloc, wall: Path) -> None:
    rgbd_names = [name.replace(".png", ".color.png") for name in NAMES]
    lines = [pose_line(shot).replace(".png", ".color.png", 1) for shot in QUERIES]
    Path("prior.txt").write_text("\n".join(lines) + "\n")
    words = (
        "evaluate",
        wall_expression(wall),
        *SMALL,
        "--retrieval",
        "near",
        "--prior",
        "prior.txt",
        "--json",
    )
    ran = visloc(*words, "--radius", 0.5)
    assert ran.code == 0, ran.err
    places = {shot.name.replace(".png", ".color.png"): shot.pose[:3, 3] for shot in (*MAP, *QUERIES)}
    assert [query["name"] for query in ran.result["queries"]] == rgbd_names
    for query in ran.result["queries"]:
        apart = {name: np.linalg.norm(place - places[query["name"]]) for name, place in places.items()}
        near = {name for name in apart if apart[name] <= 0.5 and "map" in name}
        assert set(query["candidates"]) == near
        assert 0 < len(near) < len(MAP)
        shot = next(shot for shot in QUERIES if shot.name.startswith(query["name"][:7]))
        assert pose_error(np.array(query["cam2world"]), shot.pose).position < 0.05
    refused(visloc(*words[:2], "--prior", "prior.txt"), "--prior is for --retrieval near")
    refused(visloc(*words[:2], "--parity", "--retrieval", "near"), "--parity takes the dataset's pairs")


# Rehearsals


@pytest.mark.parametrize("command", ["localize", "evaluate"])
def test_a_dry_run(visloc: Visloc, wall: Path, command: str, colour_network: ColourNetwork) -> None:
    words: tuple[object, ...] = (wall / "map", wall / "queries", "text.jpg", "--camera", CAMERA)
    Path("text.jpg").write_text("no photo")
    if command == "evaluate":
        words = (wall_expression(wall), "--retrieval", "all")
    ran = visloc(command, *words, *SMALL, "--dry-run", "-o", "out")
    assert ran.code == 0, ran.err
    assert colour_network.encoded == 1
    assert not Path("out").exists()
    photos = 4 if command == "localize" else 3
    cameras = "given (3), unreadable (1)" if command == "localize" else "listed for this photo (3)"
    assert (
        f"{photos} photos to localise; cameras: {cameras}" in ran.out
        or "unreadable (1), given (3)" in ran.out
    )
    assert "6 photos, 6 with 3D points; 6 of them are to be encoded first" in ran.out
    found = visloc(command, *words, *SMALL, "--dry-run", "--json").result
    assert found["photos"] == photos
    assert found["pairs"] == [5, 6]
    assert 0 < found["seconds"][0] <= found["seconds"][1] < 60
    assert found["memory_bytes"] > 2**20


def test_a_dry_run_of_upstreams_way_is_refused(no_network: Visloc, wall: Path) -> None:
    refused(
        no_network("evaluate", wall_expression(wall), "--parity", "--dry-run"), "--dry-run estimates our own"
    )


# The retrieval checkpoint of a network


@pytest.mark.parametrize("place", ["beside", "cache", "without codebook", "of another network"])
def test_auto_takes_the_checkpoint_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Spec 50 D2: the retrieval network if its checkpoint is at hand."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub/checkpoints" if place == "cache" else tmp_path / "models"
    (tmp_path / "models").mkdir()
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "models/big.pth").touch()
    name = "small" if place == "of another network" else "big"
    (folder / f"{name}_retrieval_trainingfree.pth").touch()
    if place != "without codebook":
        (folder / f"{name}_retrieval_codebook.pkl").touch()
    write_map(tmp_path / "map")
    chosen = choose_retrieval(
        "auto",
        {},
        read_map(tmp_path / "map"),
        model=str(tmp_path / "models/big.pth"),
        prior=None,
        radius=None,
    )
    at_hand = place in ("beside", "cache")
    assert chosen.name == (str(folder / "big_retrieval_trainingfree.pth") if at_hand else "auto")
    assert (chosen.note is not None) == at_hand


def test_the_checkpoint_of_a_named_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert checkpoint_at_hand("nano") is None
    (tmp_path / "checkpoints").mkdir()
    stem = "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric_retrieval"
    (tmp_path / f"checkpoints/{stem}_trainingfree.pth").touch()
    (tmp_path / f"checkpoints/{stem}_codebook.pkl").touch()
    found = checkpoint_at_hand("naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric")
    assert found == tmp_path / f"checkpoints/{stem}_trainingfree.pth"
