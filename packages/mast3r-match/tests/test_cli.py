"""``mast3r match``: files, pictures, many pairs, JSON, exit codes; bad input in real processes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from mast3r_match import Matches
from mast3r_match.cli import match
from mast3r_model.cli import run


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def workplace(
    tmp_path: Path,
    scene: np.ndarray,
    save_photo: Callable[[str, np.ndarray], Path],
    goldens: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with photos a, b, c and the checkpoint model.pth, which is also the current folder."""
    for number, name in enumerate("abc"):
        save_photo(f"{name}.png", scene[20 * number : 20 * number + 192, 30 * number : 30 * number + 256])
    shutil.copy(goldens("model/mast3r_catconv.pth"), tmp_path / "model.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAST3R_MODEL", "model.pth")
    monkeypatch.setenv("MAST3R_MATCH_SIZE", "96")
    monkeypatch.setenv("MAST3R_MATCH_DEVICE", "cpu")
    return tmp_path


@pytest.fixture
def mast3r_match(workplace: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command in this process."""

    def call(*words: str) -> Ran:
        code = run(match, list(words), program="mast3r match")
        return Ran(code, *capfd.readouterr())

    return call


FLAGS_OF_THE_SPECIFICATION = {
    "--pairs": None,
    "--subsample": 8,
    "--pixel-tolerance": 0.0,
    "--min-confidence": 0.0,
    "--max-matches": None,
    "--border": 3,
    "--fine": False,
    "--max-image-size": None,
    "--verify": "none",
    "--output": None,
    "--viz": None,
    "--viz-count": 50,
    "--model": "nano",
    "--device": "auto",
    "--dtype": "auto",
    "--seed": 0,
}


def test_flags_and_defaults_are_those_of_the_specification() -> None:
    """Spec 60 F4 and F2."""
    known = {name: parameter for parameter in match.params for name in parameter.opts}
    for name, default in FLAGS_OF_THE_SPECIFICATION.items():
        assert known[name].to_info_dict()["default"] == default, name


def test_two_photos(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    ran = mast3r_match("a.png", "b.png", "--viz", "seen.png", "--max-matches", "25")
    assert ran.code == 0, ran.err
    assert "a.png - b.png: 25 matches, median score" in ran.out
    assert "written: matches.npz, seen.png" in ran.err
    found = Matches.load(workplace / "matches.npz")
    assert len(found) == 25
    assert found.made_with["model"] == "model.pth"
    assert found.made_with["options"]["max_matches"] == 25
    with Image.open(workplace / "seen.png") as picture:
        assert picture.width > 900


def test_the_same_command_again_is_fine_another_one_is_not(mast3r_match: Callable[..., Ran]) -> None:
    first = mast3r_match("a.png", "b.png")
    assert first.code == 0
    assert "next: the same command with --viz matches.png draws the matches" in first.err
    again = mast3r_match("a.png", "b.png", "--viz", "matches.png")
    assert again.code == 0
    assert "next:" not in again.err
    assert mast3r_match("a.png", "b.png", "--viz", "matches.png").code == 0
    os.utime("c.png", (0, 0))
    for other in ("c.png", "a.png"):  # somebody's picture, and the photo itself
        before = Path(other).read_bytes()
        assert mast3r_match("a.png", "b.png", "--viz", other).code == 1
        assert Path(other).read_bytes() == before
    assert mast3r_match("a.png", "b.png", "--viz", "a.png", "--overwrite").code == 1
    for words in (
        ["a.png", "c.png"],
        ["a.png", "b.png", "--subsample", "4"],
        ["a.png", "b.png", "--verify", "fundamental"],
        ["a.png", "b.png", "--verify", "fundamental", "--max-matches", "20"],
        ["a.png", "b.png", "--mask", "a.png", "--mask", "b.png"],
        ["a.png", "b.png", "--dtype", "bf16"],
    ):
        refused = mast3r_match(*words)
        assert refused.code == 1
        assert "matches.npz exists already" in refused.err
        assert mast3r_match(*words, "--overwrite").code == 0
        assert mast3r_match(*words).code == 0


def test_the_file_says_what_made_it(mast3r_match: Callable[..., Ran]) -> None:
    ran = mast3r_match("a.png", "b.png", "--verify", "fundamental", "--max-matches", "20", "--json")
    noted = Matches.load("matches.npz").made_with
    assert noted["verify"] == {"model": "fundamental", "threshold": 1.5, "max_matches": 20}
    assert (noted["model"], noted["size"], noted["masks"], noted["fine"]) == (
        "model.pth",
        96,
        [None, None],
        False,
    )
    (pair,) = ran.document["result"]["pairs"]
    assert noted["verified"] == {"matches": pair["matches"], "inliers": pair["inliers"]}


def test_many_pairs_go_on_where_they_stopped(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    words = ["a.png", "b.png", "c.png", "-o", "found", "--verify", "fundamental", "--json"]
    first = mast3r_match(*words).document
    files = sorted((workplace / "found").iterdir())
    assert len(files) == 3
    again = mast3r_match(*words, "--viz", "seen")
    assert "3 of 3 pairs are matched already" in again.err
    assert "load" not in again.document["timings"]
    assert len(list((workplace / "seen").iterdir())) == 3
    for ours, theirs in zip(again.document["result"]["pairs"], first["result"]["pairs"], strict=True):
        assert ours | {"viz": None} == theirs
    files[0].unlink()
    os.utime(workplace / "c.png")  # b and c are matched anew, a and c too
    kept = files[1].stat().st_mtime_ns, files[2].stat().st_mtime_ns
    assert "matched already" not in mast3r_match(*words).err
    assert files[0].exists()
    assert (files[1].stat().st_mtime_ns, files[2].stat().st_mtime_ns) > kept
    (workplace / "found" / "a__b.npz").unlink()
    before = (workplace / "found" / "b__c.npz").stat().st_mtime_ns
    ran = mast3r_match(*words)
    assert "2 of 3 pairs are matched already" in ran.err
    assert [pair["output"] for pair in ran.document["result"]["pairs"]] == [
        f"found/{name}.npz" for name in ("a__b", "a__c", "b__c")
    ]
    assert (workplace / "found" / "b__c.npz").stat().st_mtime_ns == before


def test_json(mast3r_match: Callable[..., Ran]) -> None:
    ran = mast3r_match("a.png", "b.png", "-o", "out/m.json", "--verify", "fundamental", "--json")
    assert ran.code == 0
    (pair,) = ran.document["result"]["pairs"]
    assert ran.document["schema"] == "mast3r.match/1"
    assert pair["output"] == "out/m.json"
    assert pair["matches"] >= pair["inliers"] == len(Matches.load("out/m.json"))


def test_a_folder_matches_all_pairs(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "photos").mkdir()
    for name in "abc":
        (workplace / f"{name}.png").rename(workplace / "photos" / f"{name}.png")
    ran = mast3r_match("photos", "-o", "found", "--viz", "pictures")
    assert ran.code == 0, ran.err
    names = {"a__b", "a__c", "b__c"}
    assert {path.name for path in (workplace / "found").iterdir()} == {f"{name}.npz" for name in names}
    assert {path.name for path in (workplace / "pictures").iterdir()} == {f"{name}.png" for name in names}


def test_lists_of_pairs(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "pairs.txt").write_text("# kapture\na.png, c.png, 0.8\nb.png, a.png, 0.5\n")
    for words in (["pairs.txt"], [".", "--pairs", "pairs.txt"], ["--pairs", "pairs.txt"]):
        ran = mast3r_match(*words, "--json", "-o", "found")
        assert ran.code == 0, ran.err
        pairs = [(p["image0"], p["image1"]) for p in ran.document["result"]["pairs"]]
        assert [tuple(Path(name).name for name in pair) for pair in pairs] == [
            ("a.png", "c.png"),
            ("b.png", "a.png"),
        ]
        shutil.rmtree(workplace / "found")


def test_masks(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    mask = np.zeros((192, 256), dtype=np.uint8)
    mask[:, 128:] = 255
    (workplace / "masks").mkdir()
    Image.fromarray(mask).save(workplace / "masks" / "a.png.png")
    assert mast3r_match("a.png", "b.png", "--mask", "masks").code == 0
    assert (Matches.load("matches.npz").keypoints0[:, 0] > 126).all()
    Image.fromarray(mask * 0 + 255).save(workplace / "all.png")
    ran = mast3r_match("a.png", "b.png", "--mask", "all.png", "--mask", "masks/a.png.png", "--overwrite")
    assert ran.code == 0
    assert (Matches.load("matches.npz").keypoints1[:, 0] > 126).all()


def test_fine(mast3r_match: Callable[..., Ran]) -> None:
    coarse = mast3r_match("a.png", "b.png", "-o", "coarse.npz", "--json").document
    for flag in ("--fine", "--coarse-to-fine"):
        ran = mast3r_match("a.png", "b.png", flag, "-o", "fine.npz", "--json", "--overwrite")
        assert ran.code == 0
        fine = ran.document["result"]["pairs"][0]["matches"]
        assert fine > coarse["result"]["pairs"][0]["matches"]


def test_an_unreadable_photo_among_many_is_skipped(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    (workplace / "broken.jpg").write_text("no photo")
    ran = mast3r_match("a.png", "broken.jpg", "b.png", "-o", "found")
    assert ran.code == 3
    assert "broken.jpg" in ran.err
    assert [path.name for path in (workplace / "found").iterdir()] == ["a__b.npz"]
    assert mast3r_match("a.png", "broken.jpg", "b.png", "-o", "more", "--strict").code == 1


def test_nothing_found(mast3r_match: Callable[..., Ran], workplace: Path) -> None:
    ran = mast3r_match("a.png", "b.png", "--min-confidence", "1e9", "--json")
    assert ran.code == 4
    assert ran.document["error"]["kind"] == "NothingFoundError"
    assert not (workplace / "matches.npz").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "two photos"),
        (["a.png"], 1, "needs two photos or more, got 1"),
        (["a.png", "b.png", "-o", "m.xyz"], 1, ".xyz"),
        (["a.png", "b.png", "c.png", "-o", "m.npz"], 1, "3 pairs do not fit into one file"),
        (["a.png", "b.png", "--mask", "a.png"], 1, "1 masks for 2 photos"),
        (["a.png", "b.png", "--verify", "essential"], 2, "--intrinsics"),
        (["a.png", "b.png", "--subsample", "-1"], 2, "subsample"),
        (["a.png", "b.png", "--subsampel", "1"], 2, "--subsample"),
        (["a.png", "b.png", "--intrinsics", "a.png"], 1, "cannot read intrinsics"),
        (["nothing*.png"], 1, "no file matches nothing*.png"),
        (["list.txt"], 1, "no such file or folder: list.txt"),
        (["a.png", "b.png", "--device", "cuda:99"], 1, "cuda:99"),
    ],
)
def test_wrong_words(mast3r_match: Callable[..., Ran], words: list[str], code: int, message: str) -> None:
    ran = mast3r_match(*words)
    assert ran.code == code
    assert message in ran.err
    assert "Traceback" not in ran.err


# ---- bad input, each in a process of its own --------------------------------------------------------------


def evil_checkpoint(path: Path) -> None:
    """A pickle that would run a command when it is loaded."""
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch hacked",)

    path.write_bytes(pickle.dumps({"args": Evil(), "model": {}}))


def edited_checkpoint(path: Path, source: Path, *, missing: bool) -> None:
    """The checkpoint without one key, or with one more."""
    import argparse

    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(source, weights_only=True)
    if missing:
        del content["model"]["dec_norm.weight"]
    else:
        content["model"]["surplus.weight"] = torch.zeros(2)
    torch.save(content, path)


def limit_files_to_one_kilobyte() -> None:
    """As if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))


BAD_INPUT: dict[str, tuple[list[str], str]] = {
    "missing file": (["a.png", "nowhere.jpg"], "nowhere.jpg"),
    "text named jpg": (["a.png", "text.jpg"], "text.jpg"),
    "truncated": (["a.png", "truncated.jpg"], "truncated.jpg"),
    "unknown model": (["a.png", "b.png", "--model", "nanoo"], "nanoo"),
    "hostile pickle": (["a.png", "b.png", "--model", "evil.pth"], "evil.pth"),
    "missing keys": (["a.png", "b.png", "--model", "missing.pth"], "dec_norm.weight"),
    "extra keys": (["a.png", "b.png", "--model", "extra.pth"], "surplus.weight"),
    "mask of another size": (["a.png", "b.png", "--mask", "small.png", "--mask", "small.png"], "small.png"),
    "disk full": (["a.png", "b.png", "-o", "full.npz"], "full.npz"),
}

IN_PROCESSES = ("missing file", "hostile pickle", "disk full")


def start(words: Sequence[str], folder: Path, *, full_disk: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mast3r_match", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit_files_to_one_kilobyte if full_disk else None,
    )


@pytest.fixture
def bad_input(workplace: Path) -> list[Path]:
    """The files that `BAD_INPUT` names; returns what is in the folder."""
    (workplace / "text.jpg").write_text("I am text.")
    Image.open(workplace / "b.png").save(workplace / "whole.jpg")
    (workplace / "truncated.jpg").write_bytes((workplace / "whole.jpg").read_bytes()[:2000])
    Image.new("L", (10, 10), 255).save(workplace / "small.png")
    evil_checkpoint(workplace / "evil.pth")
    edited_checkpoint(workplace / "missing.pth", workplace / "model.pth", missing=True)
    edited_checkpoint(workplace / "extra.pth", workplace / "model.pth", missing=False)
    return sorted(workplace.iterdir())


def check_error(ran: Ran, message: str) -> None:
    """Exit code 1 and one line that names what is wrong."""
    assert ran.code == 1, ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("error:")]) == 1, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("name", [name for name in BAD_INPUT if name not in IN_PROCESSES])
def test_bad_input(mast3r_match: Callable[..., Ran], bad_input: list[Path], name: str) -> None:
    words, message = BAD_INPUT[name]
    check_error(mast3r_match(*words), message)
    assert sorted(Path.cwd().iterdir()) == bad_input


def test_bad_input_in_processes(workplace: Path, bad_input: list[Path]) -> None:
    """What a process has to itself: its exit code, its disk, and what a pickle could do to it."""
    processes = {
        name: start(BAD_INPUT[name][0], workplace, full_disk=name == "disk full") for name in IN_PROCESSES
    }
    for name, process in processes.items():
        out, err = process.communicate(timeout=300)
        check_error(Ran(process.returncode, out, err), BAD_INPUT[name][1])
    assert sorted(workplace.iterdir()) == bad_input


def test_help_imports_no_torch() -> None:
    script = (
        "import sys, mast3r_match, mast3r_match.cli, mast3r_match.plugin\n"
        "from mast3r_model.cli import run\n"
        "code = run(mast3r_match.cli.match, ['--help'])\n"
        "heavy = {'torch', 'numpy', 'scipy', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in (
        "Input:",
        "Pairs:",
        "Quality:",
        "Output:",
        "--coarse-to-fine",
        "[default: 8; x>=0]",
        "Examples:",
    ):
        assert word in done.stdout
