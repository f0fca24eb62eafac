"""docs/datasets.md and docs/plugins.md say what is so: names, options, defaults, commands, the example."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

from mast3r_model import registry
from mast3r_train import PairDataset
from mast3r_train.datasets.posed_frames import PosedPairs

from .prepared_checks import run_mast3r
from .standin_processed import write_everything

DOCS = Path(__file__).parents[3] / "docs"

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the docs are not in the package")

OTHERS = ("SyntheticScenes", "PosedPhotos", "InternalUnreleasedDataset")
"""Datasets without a release."""


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "datasets.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/`` as the page has it."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "data").mkdir()
    write_everything(folder / "data")
    for name in ("RAW", "scene", "photos"):
        (folder / name).mkdir()
    (folder / "blendedmvs_pairs.npy").touch()
    return folder


def rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the table whose heading row starts so, without that row."""
    lines = page[page.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names_in(cell: str) -> list[str]:
    return [re.split(r"[(=]", name)[0] for name in re.findall(r"`([^`]+)`", cell)]


def test_the_table_of_datasets(page: str) -> None:
    listed = {tuple(names_in(row[0])): row[1:] for row in rows(page, "name")}
    assert sorted(name for names in listed for name in names) == sorted(
        name for name, target in registry("datasets").items() if target.__module__.startswith("mast3r_train.")
    )
    for names, (metric, _, splits, own, prepared) in listed.items():
        (found,) = {registry("datasets")[name] for name in names}
        if names[0] in OTHERS:
            continue
        assert metric == ("yes" if found.is_metric_scale else "no"), names
        assert (found.names or (found.__name__,))[0] in names
        assert names_in(prepared)[0] in registry("preprocessors"), names
        parameters = inspect.signature(found).parameters
        common = {*inspect.signature(PairDataset).parameters, "split"}
        assert set(names_in(own)) == set(parameters) - common, names
        has_default = parameters["split"].default is not inspect.Parameter.empty
        assert has_default == ("None" in splits or splits == "train"), names


def test_the_table_of_options(page: str) -> None:
    parameters = dict(inspect.signature(PairDataset).parameters)
    for cell, default, _ in rows(page, "option"):
        values = re.findall(r"`?([^`,]+)`?", default)
        for name, value in zip(names_in(cell), values * 2, strict=False):
            expected = parameters.pop(name).default
            match value.strip():
                case "see above":
                    assert expected is None
                case "needed":
                    assert expected is inspect.Parameter.empty
                case "ImgNorm":
                    assert repr(expected) == "ImgNorm"
                case text:
                    assert expected == ast.literal_eval(text), name
    assert not parameters


def test_the_table_of_preparations(page: str) -> None:
    listed = [names_in(row[0])[0] for row in rows(page, "`mast3r data prepare`")]
    assert sorted(listed) == [name for name in registry("preprocessors").names() if name[:4] != "sky-"]


def commands(page: str) -> list[str]:
    indented = re.findall(r"^    (mast3r .*)$", page, re.MULTILINE)
    inline = re.findall(r"`(mast3r data (?:pairs|sky) [^`]*)`", page)
    return [command.removesuffix(" ...") for command in (*indented, *inline)]


def test_the_words_of_every_command(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    found = commands(page)
    assert len(found) >= 12
    for command in found:
        words = shlex.split(command)[1:]
        if words[0] == "sfm" and "sfm" not in registry("commands"):
            continue
        ended = run_mast3r(*words, "--show-config")
        assert ended.returncode == 0, f"{command}: {ended.stderr}"


def test_commands_do_what_the_page_says(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (check,) = (command for command in commands(page) if "Co3d(split" in command)
    ended = run_mast3r(*shlex.split(check)[1:])
    assert ended.returncode == 0, ended.stderr
    assert "8 samples keep the contract" in ended.stdout
    pairs = [command for command in commands(page) if command.startswith("mast3r data pairs")]
    named = {shlex.split(command)[3] for command in pairs}
    readers = {name for name, found in registry("datasets").items() if _reads_our_pairs(found)}
    assert named == readers
    (command,) = (command for command in pairs if "--root" in command)
    file = place / "data/tartanair_processed/tartanair_pairs.npz"
    file.unlink()
    ended = run_mast3r(*shlex.split(command.replace("--workers 8", "--workers 1"))[1:])
    assert ended.returncode == 0, ended.stderr
    assert file.is_file()


def _reads_our_pairs(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, PosedPairs)


def test_the_example_of_a_dataset(tmp_path: Path) -> None:
    """It passes the suite, and its arguments are known to expressions."""
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    section = text[text.index("### `mast3r_datasets()`") : text.index("### `mast3r_transforms()`")]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "flat_wall.py").write_text(code)
    found = runpy.run_path(str(tmp_path / "flat_wall.py"))["FlatWall"]
    assert len(found(resolution=(64, 48))) == 10
    assert set(inspect.signature(found).parameters) == set(inspect.signature(PairDataset).parameters)
