"""``mast3r pairs``: what it writes, when it looks at photos, what it says about bad ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from mast3r_model.cli import run
from mast3r_sfm.pairs import read_pairs
from mast3r_sfm.pairs_cli import pairs


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def workplace(tmp_path: Path, goldens: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos/{a b,c,d}.png and the checkpoint model.pth, which is also the current folder."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for name in ("a b", "c", "d"):
        pixels = random.integers(0, 255, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    shutil.copy(goldens("model/mast3r_catconv.pth"), tmp_path / "model.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAST3R_MODEL", "model.pth")
    monkeypatch.setenv("MAST3R_PAIRS_SIZE", "96")
    monkeypatch.setenv("MAST3R_PAIRS_DEVICE", "cpu")
    return tmp_path


@pytest.fixture
def mast3r_pairs(workplace: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def call(*words: str) -> Ran:
        code = run(pairs, list(words), program="mast3r pairs")
        return Ran(code, *capfd.readouterr())

    return call


def test_flags_are_those_of_the_specification() -> None:
    """Spec 60 F4."""
    known = {name: parameter for parameter in pairs.params for name in parameter.opts}
    for name, default in {"--graph": "auto", "--format": "kapture", "--similarity": None}.items():
        assert known[name].to_info_dict()["default"] == default
    assert {"--scene-graph", "--retrieval", "--output", "--dir", "--model-name", "--device"} <= set(known)


def test_few_photos_are_all_paired_without_a_network(mast3r_pairs: Callable[..., Ran]) -> None:
    ran = mast3r_pairs("photos", "--model", "nowhere.pth", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["result"] | {"output": ""} == {
        "photos": 3, "pairs": 3, "graph": "auto", "groups": 1, "output": ""
    }  # fmt: skip
    listed = read_pairs("pairs.txt")
    assert listed.names == (("c.png", "a b.png"), ("d.png", "a b.png"), ("d.png", "c.png"))
    assert mast3r_pairs("photos").code == 1
    assert (
        mast3r_pairs("--dir", "photos", "--scene_graph", "oneref-1", "--overwrite", "--symmetrize").code == 0
    )
    assert len(read_pairs("pairs.txt").names) == 4


def test_similar_photos(mast3r_pairs: Callable[..., Ran], workplace: Path) -> None:
    shutil.copy("photos/c.png", "photos/e.png")
    words = ("photos", "--graph", "retrieval-0-1", "--similarity", "alike.npy")
    ran = mast3r_pairs(*words)
    assert ran.code == 0, ran.err
    similarity = np.load("alike.npy")
    np.testing.assert_allclose([similarity[1, 3], *np.diag(similarity)], 1, atol=1e-5)
    assert ("c.png", "e.png") in read_pairs("pairs.txt").names
    assert mast3r_pairs(*words, "--overwrite", "--model", "nowhere.pth").code == 0
    np.save("alike.npy", np.eye(3))
    assert "shape (3, 3), expected (4, 4)" in mast3r_pairs(*words, "--overwrite").err


def test_groups_are_reported(mast3r_pairs: Callable[..., Ran]) -> None:
    ran = mast3r_pairs("photos", "--graph", "swin-1-noncyclic", "--prefilter", "seq0")
    assert "the 3 groups" in ran.err


def test_damaged_photos_are_skipped(mast3r_pairs: Callable[..., Ran], workplace: Path) -> None:
    Path("photos/text.jpg").write_text("no photo")
    whole = Path("photos/c.png").read_bytes()
    Path("photos/cut.png").write_bytes(whole[: len(whole) // 2])
    ran = mast3r_pairs("photos", "--graph", "retrieval-2-1")
    assert ran.code == 3
    assert "text.jpg" in ran.err
    assert "cut.png" in ran.err
    assert {name for pair in read_pairs("pairs.txt").names for name in pair} == {"a b.png", "c.png", "d.png"}
    assert mast3r_pairs("photos", "--strict", "-o", "more.txt").code == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "folder of photos"),
        (["photos/c.png"], 1, "two photos or more, got 1"),
        (["photos", "--graph", "swin-x"], 1, "'x' is no whole number"),
        (["photos", "--prefilter", "near"], 1, "'near'"),
        (["photos", "--format", "colmap"], 1, "cannot hold the name 'a b.png'"),
        (["photos", "--graph", "retrieval-2-1", "--retrieval", "clip"], 1, "unknown retriever 'clip'"),
        (["photos", "--graph", "retrieval-2-1", "--retrieval", "mast3r"], 1, "checkpoint"),
        (
            ["photos", "--graph", "retrieval-2-1", "--similarity", "model.pth"],
            1,
            "model.pth holds no similarity",
        ),
    ],
)
def test_wrong_words(mast3r_pairs: Callable[..., Ran], words: list[str], code: int, message: str) -> None:
    ran = mast3r_pairs(*words)
    assert ran.code == code
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not Path("pairs.txt").exists()


def test_help_imports_no_torch() -> None:
    script = (
        "import sys\nfrom mast3r_model.cli import run\nfrom mast3r_sfm.pairs_cli import pairs\n"
        "code = run(pairs, ['--help'])\nsys.exit(bool({'torch', 'numpy'} & set(sys.modules)) or code)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
