"""The likeliest mistakes (issue 6, point 7): one line says what is wrong, one what to do; no traceback."""

from __future__ import annotations

import errno
import json
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mast3r_model.cli import root, run
from mast3r_model.images import reading

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Prepare = Callable[[Patch], None]


@dataclass(frozen=True)
class Mistake:
    """What somebody types, and what they are told.

    Attributes:
        words: after ``mast3r``.
        message: a part of the line that says what is wrong.
        hint: a part of the line that says what to do.
        code: the exit code.
        prepare: makes the machine such that it goes wrong.
    """

    words: str
    message: str
    hint: str
    code: int = 1
    prepare: Prepare = lambda patch: None


class Malicious:
    """A checkpoint that wants to make a file when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch was_run",)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and with everything that is no photo, no checkpoint, no scene."""
    folder = tmp_path_factory.mktemp("mistakes")
    noise = np.random.default_rng(0)
    for name in ("photos/a.jpg", "photos/b.jpg", "one/a.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        small = Image.fromarray(noise.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        small.resize((128, 96), Image.Resampling.BICUBIC).save(folder / name)
    (folder / "empty").mkdir()
    (folder / "mixed").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "mixed" / name).write_bytes((folder / "photos" / name).read_bytes())
    (folder / "mixed" / "z.jpg").write_text("these are notes")
    photo = (folder / "photos" / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "notes.jpg").write_text("these are notes")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "film.mp4").write_text("no film")
    (folder / "ruined.pth").write_text("no checkpoint")
    (folder / "evil.pth").write_bytes(pickle.dumps({"model": Malicious()}))
    (folder / "thesis").mkdir()
    (folder / "thesis" / "thesis.txt").write_text("years of work")
    (folder / "pairs.txt").write_text("a.jpg q.jpg\n")
    (folder / "half.txt").write_text("a.jpg\n")
    Image.new("L", (20, 10), 255).save(folder / "mask.png")
    (folder / "K.txt").write_text("500 320 240\n")
    (folder / "ruined.toml").write_text("[match\n")
    (folder / "typo.toml").write_text("[match]\nmax-machtes = 1\n")
    (folder / "value.toml").write_text('[match]\nmax-matches = "many"\n')
    return folder


@pytest.fixture(autouse=True)
def _here(template: Path, tmp_path: Path, monkeypatch: Patch) -> Iterator[None]:
    """Beside links to all that; no settings of the tester's own."""
    for entry in template.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in [name for name in os.environ if name.startswith(("MAST3R_", "HF_HUB_OFFLINE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # --offline sets it: back to this afterwards
    reading.heif_available.cache_clear()
    yield
    reading.heif_available.cache_clear()


def without_heif(patch: Patch) -> None:
    patch.setitem(sys.modules, "pillow_heif", None)


def without_viser(patch: Patch) -> None:
    patch.setitem(sys.modules, "viser", None)


def without_room(patch: Patch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr("mast3r_model.files._flush_to_disk", full)


def read_only(patch: Patch) -> None:
    make = Path.mkdir

    def refuse(path: Path, *positional: object, **keywords: object) -> None:
        if path.name == "locked":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        make(path, *positional, **keywords)  # type: ignore[arg-type]

    patch.setattr(Path, "mkdir", refuse)


def without_memory(patch: Patch) -> None:
    def fail(*ignored: object, **also: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    patch.setattr("mast3r_match.match_command.match_pairs", fail)


def wrong_variable(patch: Patch) -> None:
    patch.setenv("MAST3R_MATCH_SUBSAMPLE", "few")


TWO = "photos/a.jpg photos/b.jpg --size 128"
BIG = "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric"

MISTAKES = {
    "a missing file": Mistake(
        "match nowhere.jpg photos/b.jpg", "no such image: nowhere.jpg", "check the path"
    ),
    "a misspelt folder": Mistake("sfm photoss", "no such file or folder: photoss", "did you mean photos?"),
    "a folder without photos": Mistake("sfm empty", "no photos in empty", "looked for .jpg"),
    "a pattern of nothing": Mistake("match *.tif", "no file matches *.tif", "check the pattern"),
    "one photo only": Mistake(
        "sfm one --size 128", "needs two photos or more, got 1", "several photos of one place"
    ),
    "one photo for match": Mistake(
        "match one", "needs two photos or more, got 1", "give two files, a folder"
    ),
    "one bad photo among many, with --strict": Mistake(
        "colmap mixed --strict --size 128 -o s", "z.jpg cannot be used: not an image", "take it away"
    ),
    "no photos at all": Mistake("sfm", "name a folder of photos, or a video", "mast3r sfm --help", 2),
    "not an image": Mistake(
        "match notes.jpg photos/b.jpg",
        "not an image, or of an unknown format: notes.jpg",
        "give a JPEG or PNG",
    ),
    "a truncated JPEG": Mistake(
        "match cut.jpg photos/b.jpg", "damaged or truncated image: cut.jpg", "copy or download the file again"
    ),
    "HEIC without its extra": Mistake(
        "match phone.heic photos/b.jpg", "phone.heic", "mast3r-model[heic]", prepare=without_heif
    ),
    "nothing but HEIC without its extra": Mistake(
        "sfm phone.heic", "none of the 1 images can be used", "mast3r-model[heic]", prepare=without_heif
    ),
    "a broken video": Mistake("sfm film.mp4", "cannot decode any frame of film.mp4", "convert it to MP4"),
    "an unknown model": Mistake(f"match {TWO} -m nanno", "unknown model 'nanno'", "did you mean nano?"),
    "an unknown long model": Mistake(f"match {TWO} -m {BIG[:-1]}k", "unknown model", f"did you mean {BIG}?"),
    "a missing checkpoint": Mistake(
        f"match {TWO} -m my/checkpoint.pth", "no such checkpoint: my/checkpoint.pth", "check the path"
    ),
    "a checkpoint that is none": Mistake(
        f"match {TWO} -m ruined.pth", "ruined.pth is no checkpoint", "copy or download it again"
    ),
    "a malicious checkpoint": Mistake(
        f"match {TWO} -m evil.pth", "refused to load evil.pth", "get the checkpoint as .safetensors"
    ),
    "a device that is not there": Mistake(
        f"match {TWO} --device cuda:99", "device 'cuda:99' is not available", "available here: cpu"
    ),
    "a device that does not exist": Mistake(
        f"match {TWO} --device gpu", "unknown device 'gpu'", "available here: cpu"
    ),
    "no network with --offline": Mistake(
        f"match {TWO} -m {BIG} --offline", "nothing may be downloaded", "leave out --offline"
    ),
    "an unknown command": Mistake("mach a b", "no command 'mach'", "mast3r --help", 2),
    "a command of a group": Mistake("models shw", "no command 'shw' in mast3r models", "--help", 2),
    "an unknown flag": Mistake(
        f"match {TWO} --max-machtes 3", "No such option '--max-machtes'", "mast3r match --help", 2
    ),
    "a flag without its value": Mistake(
        f"match {TWO} --max-matches", "'--max-matches' requires an argument", "mast3r match --help", 2
    ),
    "a bad number": Mistake(
        f"match {TWO} --max-matches many", "'many' is not a valid integer", "mast3r match --help", 2
    ),
    "a number out of range": Mistake("sfm photos --tsdf -1", "-1.0 is not in the range", "sfm --help", 2),
    "a bad graph": Mistake("sfm photos --graph swim-3", "unknown scene graph 'swim-3'", "did you mean swin?"),
    "a bad number in a graph": Mistake(
        "pairs photos --graph swin-x -o new.txt", "cannot read the graph 'swin-x'", "swin-3-noncyclic"
    ),
    "an image that a graph lacks": Mistake(
        "pairs photos --graph oneref-9 -o new.txt", "there is no image 9 among 2", "oneref-0"
    ),
    "an unknown export format": Mistake("sfm photos --export glb,objj", "'objj'", "known: cameras, colmap"),
    "an output folder of somebody else": Mistake(
        "sfm photos -o thesis", "thesis holds other files", "name another folder with --output"
    ),
    "an output file that is there": Mistake(
        "pairs photos -o half.txt", "half.txt exists already", "or give --overwrite"
    ),
    "an unknown file format": Mistake(
        f"match {TWO} -o m.docx", "unknown format of m.docx", "use one of .npz"
    ),
    "a file as a folder": Mistake(
        f"match {TWO} -o photos/a.jpg/m.npz", "cannot write photos/a.jpg/m.npz", "a part of it is a file"
    ),
    "a read-only disk": Mistake(
        f"match {TWO} -o locked/m.npz",
        "cannot write locked/m.npz: Read-only",
        "a folder that you may write to",
        prepare=read_only,
    ),
    "a full disk": Mistake(
        f"match {TWO}", "cannot write matches.npz: No space left", "free some space", prepare=without_room
    ),
    "pairs of unknown photos": Mistake(
        "sfm photos --pairs pairs.txt --size 128 -o s", "a pair names the image 'q.jpg'", "did you mean"
    ),
    "half a pair": Mistake("match photos --pairs half.txt", "expected two photos a line", "`mast3r pairs`"),
    "no list of pairs": Mistake(
        "match photos --pairs pear.txt", "no such file or folder: pear.txt", "pairs.txt?"
    ),
    "masks of another size": Mistake(
        f"match {TWO} --mask mask.png --mask mask.png",
        "the mask mask.png is 20x10 pixels, but its photo is 128x96",
        "a mask of the original photo's size",
    ),
    "too few masks": Mistake(
        f"match {TWO} --mask mask.png", "1 masks for 2 photos", "one mask for each photo"
    ),
    "wrong intrinsics": Mistake("sfm photos --intrinsics K.txt", "K.txt holds an array", "a 3x3 matrix"),
    "wrong intrinsics of match": Mistake(
        f"match {TWO} --intrinsics K.txt", "K.txt must hold a 3x3 matrix", "fx 0 cx"
    ),
    "a corrupt settings file": Mistake(
        f"match {TWO} --config ruined.toml", "settings file ruined.toml is not valid", "write it as TOML"
    ),
    "an unknown setting": Mistake(
        f"match {TWO} --config typo.toml", "has no option 'max-machtes'", "did you mean max-matches"
    ),
    "a bad value in a settings file": Mistake(
        f"match {TWO} --config value.toml", "'many' is not a valid", "'max-matches' in value.toml", 2
    ),
    "a bad value in a variable": Mistake(
        f"match {TWO}", "'few' is not a valid", "MAST3R_MATCH_SUBSAMPLE", 2, prepare=wrong_variable
    ),
    "no scene": Mistake("export thesis --format glb", "thesis holds no scene", "as `mast3r sfm` writes it"),
    "a missing extra": Mistake("view thesis", "needs viser", "mast3r-sfm[viewer]", prepare=without_viser),
    "out of memory": Mistake(
        f"match {TWO}", "out of memory", "a smaller --batch-size", prepare=without_memory
    ),
    "an unknown dataset": Mistake(
        'data check Co4d(split="train")', "Co4d is not known among the datasets", "did you mean Co3d?"
    ),
    "no map": Mistake("visloc localize nomap photos/a.jpg", "there is no map nomap", "check the path"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(mistake: Mistake, capsys: Capture, monkeypatch: Patch) -> None:
    mistake.prepare(monkeypatch)
    assert run(root(), mistake.words.split()) == mistake.code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err + shown.out
    assert shown.out == ""
    lines = shown.err.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(errors) == 1, shown.err
    assert mistake.message in lines[errors[0]]
    # The hint is the line after, or (of a missing extra) a part of the message.
    assert mistake.hint in " ".join(lines[errors[0] :])
    assert len(lines[errors[0] :]) <= 4, shown.err
    assert not Path("was_run").exists()


@pytest.mark.parametrize("name", ["a missing file", "an unknown model", "a bad number", "out of memory"])
def test_a_mistake_is_a_document_too(name: str, capsys: Capture, monkeypatch: Patch) -> None:
    mistake = MISTAKES[name]
    mistake.prepare(monkeypatch)
    assert run(root(), [*mistake.words.split(), "--json"]) == mistake.code
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["schema"] == "mast3r.match/1"
    assert mistake.message in document["error"]["message"]


def test_a_mistake_leaves_nothing_behind(tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    for words in ("sfm photos --graph swim-3 -o s", "sfm photos --export objj -o s", "sfm empty -o s"):
        assert run(root(), words.split()) == 1
    assert run(root(), ["colmap", "photos", "--graph", "swim-3", "-o", "s"]) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_port_that_is_taken(capsys: Capture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(root(), ["demo", "--port", str(port)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: cannot listen at 127.0.0.1, port ")
    assert "hint: choose another --port" in shown
    assert "Traceback" not in shown
