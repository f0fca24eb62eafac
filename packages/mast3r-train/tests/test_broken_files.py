"""Missing and damaged files of every prepared dataset: one error that names the file, of the right kind."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mast3r_model import InputError, Mast3rError
from mast3r_model.cli import run
from mast3r_train.data_cli import check_command
from mast3r_train.errors import SampleError
from mast3r_train.loop.building import build_dataset

from .standin_processed import write_everything

DATASETS = {
    "Habitat512": ("habitat", "1_000_000, split='train'"),
    "BlendedMVS": ("blendedmvs", ""),
    "MegaDepth": ("megadepth", ""),
    "ARKitScenes": ("arkitscenes", "split='train'"),
    "Co3d": ("co3d", "split='train'"),
    "WildRgbd": ("wildrgbd", "split='train'"),
    "StaticThings3D": ("staticthings3d", ""),
    "ScanNetpp": ("scannetpp", ""),
    "Waymo": ("waymo", ""),
    "TartanAir": ("tartanair", ""),
    "UnrealStereo4K": ("unrealstereo4k", ""),
    "VirtualKitti": ("virtualkitti", ""),
    "NianticMapFree": ("mapfree", "split='train'"),
    "DL3DV": ("dl3dv", "split='nlight'"),
}
"""Name -> start of its folder, and the arguments that it needs."""

INDICES = {
    "Habitat512": "Habitat_1000000_scenes_train.txt",
    "BlendedMVS": "blendedmvs_pairs.npy",
    "MegaDepth": "all_metadata.npz",
    "ARKitScenes": "Training/all_metadata.npz",
    "Co3d": "selected_seqs_train.json",
    "WildRgbd": "selected_seqs_train.json",
    "StaticThings3D": "staticthings_pairs.npy",
    "ScanNetpp": "all_metadata.npz",
    "Waymo": "waymo_pairs.npz",
    "DL3DV": "dl3dv_labels.csv",
}
"""Lists that a dataset reads as a whole; of the others, ``<name>_pairs.npz``."""


def _array(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    if arrays:
        np.savez(file, **arrays)
    else:
        np.save(file, np.zeros(3))
    return file.getvalue()


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "text": lambda content: b"hello world\n",
    "array": lambda content: _array(),
    "archive": lambda content: _array(strange=np.zeros(3)),
    "header": lambda content: b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', 'shape': ((((" + b" " * 30,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_everything(folder)
    return folder


def folder_of(name: str, data: Path) -> Path:
    return data / f"{DATASETS[name][0]}_processed"


def make(name: str, data: Path) -> object:
    arguments = f"{DATASETS[name][1]}, " if DATASETS[name][1] else ""
    text = f"{name}({arguments}ROOT={str(folder_of(name, data))!r}, resolution=(64, 48), seed=0)"
    return build_dataset(text)


def assert_one_line(error: Mast3rError, path: Path) -> None:
    assert path.name in error.message
    assert "\n" not in error.message


def damaged(path: Path) -> Iterator[str]:
    """The file in each state of damage, then as it was."""
    content = path.read_bytes()
    try:
        for kind, damage in DAMAGES.items():
            path.write_bytes(damage(content))
            yield kind
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", DATASETS)
def test_a_file_of_a_view(name: str, data: Path) -> None:
    dataset = make(name, data)
    needed = 0
    for path in sorted(path for path in folder_of(name, data).rglob("*") if path.is_file()):
        hidden = path.with_name(f"{path.name}.hidden")
        path.rename(hidden)
        try:
            dataset[0]
        except SampleError as error:
            problem = error
        else:
            continue  # another pair's
        finally:
            hidden.rename(path)
        assert_one_line(problem, path)
        assert "does not exist" in problem.message
        needed += 1
        for _ in damaged(path):
            with pytest.raises(SampleError) as caught:
                dataset[0]
            assert_one_line(caught.value, path)
    # Habitat takes other views of the place instead; ARKitScenes and ScanNet++ have all cameras in one file.
    assert needed == {"Habitat512": 0, "ARKitScenes": 4, "ScanNetpp": 4, "Co3d": 8, "WildRgbd": 8}.get(
        name, {"DL3DV": 10, "NianticMapFree": 8}.get(name, 6)
    )
    dataset[0]


@pytest.mark.parametrize("name", DATASETS)
def test_a_list_of_pairs(name: str, data: Path) -> None:
    listed = INDICES.get(name, f"{DATASETS[name][0]}_pairs.npz")
    path = folder_of(name, data) / listed
    for kind in damaged(path):
        try:
            dataset = make(name, data)
        except SampleError:
            raise AssertionError(f"{kind}: nothing else can be tried") from None
        except InputError as error:
            assert_one_line(error, path)
        else:  # half a text is a text, and "hello world" is a place that has no files
            assert path.suffix in (".txt", ".csv")
            with pytest.raises(SampleError):
                dataset[0]
    hidden = path.with_name(f"{path.name}.hidden")
    path.rename(hidden)
    with pytest.raises(InputError) as caught:
        make(name, data)
    hidden.rename(path)
    assert_one_line(caught.value, path)
    assert caught.value.hint is not None
    assert "mast3r data" in caught.value.hint


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_of_something_else(name: str, data: Path, tmp_path: Path) -> None:
    """It says which file it looked for, and how such a folder is made."""
    (tmp_path / f"{DATASETS[name][0]}_processed").mkdir()
    with pytest.raises(InputError, match=" has no ") as caught:
        make(name, tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "mast3r data" in (caught.value.hint or "")


@pytest.mark.parametrize("shape", [(2, 2), (3, 4, 1), (5, 5)])
def test_cameras_of_another_shape(shape: tuple[int, ...], data: Path) -> None:
    dataset = make("Waymo", data)
    scene, frame, _ = dataset.pairs[0]
    path = dataset.root / dataset.scenes[scene] / f"{dataset.frames[frame]}.npz"
    content = path.read_bytes()
    np.savez(path, intrinsics=np.eye(3), cam2world=np.zeros(shape))
    with pytest.raises(SampleError, match="expected intrinsics 3x3 and cam2world 4x4") as caught:
        dataset[0]
    path.write_bytes(content)
    assert_one_line(caught.value, path)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("BlendedMVS", "split='val'"), ("MegaDepth", "split='val'"), ("MegaDepth", "split='train'")],
)
def test_a_split_without_pairs(name: str, arguments: str, data: Path, tmp_path: Path) -> None:
    """A small part of a dataset may lack a whole split: said when it is built, not in the first batch."""
    root = tmp_path / "root"
    root.mkdir()
    source = folder_of(name, data) / INDICES[name]
    if name == "BlendedMVS":
        pairs = np.load(source)
        np.save(root / source.name, pairs[pairs["seq_low"] % 10 > 0])
    else:
        with np.load(source) as stored:
            arrays = dict(stored)
        is_val = np.array([scene.startswith(("0015", "0022")) for scene in arrays["scenes"]])
        kept = is_val[arrays["pairs"]["scene_id"]] == ("train" in arguments)
        np.savez(root / source.name, **arrays | {"pairs": arrays["pairs"][kept]})
    with pytest.raises(InputError, match=f"has no pairs of {arguments}") as caught:
        build_dataset(f"{name}(ROOT={str(root)!r}, {arguments}, resolution=(64, 48))")
    assert_one_line(caught.value, source)


def test_lists_without_pairs(data: Path, tmp_path: Path) -> None:
    for name, content in (("Co3d", "{}"), ("Habitat512", "\n")):
        root = folder_of(name, tmp_path)
        root.mkdir()
        (root / INDICES[name]).write_text(content)
        with pytest.raises(InputError, match=f"^{name}: .* has no pairs of split='train'$"):
            make(name, tmp_path)


def test_what_data_check_says(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 for a sound dataset, 3 if some samples cannot be made, 1 if none can."""
    root = folder_of("TartanAir", data)
    text = f"TartanAir(ROOT={str(root)!r}, resolution=(64, 48), n_corres=16)"
    assert run(check_command, [text, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["result"] == {"length": 2, "checked": 2, "problems": [], "unreadable": []}
    photos = sorted(root.rglob("*_rgb.png"))
    hidden = [photo.rename(photo.with_suffix(".hidden")) for photo in photos[:1]]
    assert run(check_command, [text]) == 3
    said = capsys.readouterr()
    assert f"cannot be read: {photos[0]} does not exist" in said.out
    assert "1 of the samples looked at cannot be made" in said.err
    hidden.append(photos[1].rename(photos[1].with_suffix(".hidden")))
    assert run(check_command, [text.replace("(64, 48)", "[(64, 48), (64, 32)]")]) == 1
    said = capsys.readouterr()
    # One line, however many samples lack the file.
    assert f"cannot be read: {photos[1]} does not exist (2 samples)" in said.out
    assert said.err.startswith("error: no sample could be made")
    for path in hidden:
        path.rename(path.with_suffix(".png"))
    assert run(check_command, [text]) == 0


def test_without_openexr(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample's fault: training stops, and says what to install."""
    dataset = make("BlendedMVS", data)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(InputError, match="depth in EXR files needs OpenEXR") as caught:
        dataset[0]
    assert not isinstance(caught.value, SampleError)
    assert caught.value.hint == "pip install 'mast3r-train[exr]'"
