"""The tables of controls and of upstream's flags: what they name is there, they leave nothing out, tests exist."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mast3r_demo.controls import CONTROLS
from mast3r_model.cli import root

from .docs_pages import ROOT

CONTROLS_PAGE = ROOT / "docs" / "controls.md"
MIGRATION_PAGE = ROOT / "docs" / "migration.md"

SPECIFIED = {
    "Flags of upstream's demos": "--local_network --server_name --server_port --image_size --weights --model_name --device "
    "--tmp_dir --silent --share --gradio_delete_cache --retrieval_model --glomap_bin",
    "The page of `demo.py`": "files | Coarse LR | Iterations (coarse) | Fine LR | Iterations (refinement) | OptLevel | "
    "Matching Confidence Thr | Shared intrinsics | Scenegraph | Scene Graph: Window Size | Cyclic sequence | "
    "Scene Graph: Id | Retrieval: Num. key images | Retrieval: Num neighbors | Run | min_conf_thr | cam_size | "
    "TSDF Threshold | As pointcloud | Mask sky | Clean-up depthmaps | Transparent cameras | (3D view)",
    "The page of `demo_dust3r_ga.py`": "files | schedule | num_iterations | Scenegraph | Window Size | Id | Run | "
    "min_conf_thr | cam_size | As pointcloud | Mask sky | Clean-up depthmaps | Transparent cameras | Model3D | Gallery",
    "The page of `demo_glomap.py`": "files | Shared intrinsics | Scenegraph | Run | cam_size | Transparent cameras | "
    "Model3D",
    "Our page": "photos | video | Frames per second | gallery | examples | photos, pairs, time | status line | tabs | "
    "Run | Cancel | Clear | Pairs | Same camera for all photos | Quality | Advanced | bounds for any number of photos | "
    "first view | measure two points | pair dropdown | similarity matrix | cameras table",
    "Downloads": "GLB | PLY | COLMAP | nerfstudio | depth maps | cameras JSON | everything | Copy the command | names",
    "Limits": "photos | pixels | bytes per file | bytes per video | pairs | frames | GLB | queue | one job at a time | "
    "time | proposal of other graphs",
    "Flags of `mast3r demo`": "--model --retrieval --mapper --image-size --device --dtype --host --local-network --port "
    "--share --share-without-password --auth --auth-file --root-path --ssl-cert --ssl-key --workdir --keep --keep-hours "
    "--max-photos --max-file-mb --max-video-mb --max-pairs --disk-limit-gb --queue-size --time-limit --colmap-mapper "
    "--glomap-bin --examples --open --preload --quiet",
    "`mast3r match`": "--pairs --subsample --pixel-tolerance --min-confidence --max-matches --border --fine "
    "--max-image-size --verify --output --viz --viz-count",
    "`mast3r pairs`": "--graph --retrieval --output --format --similarity",
    "`mast3r sfm`": "--mapper --graph --retrieval --pairs --quality --lr1 --iters1 --lr2 --iters2 --solver "
    "--matching-confidence --shared-intrinsics --schedule --iters --image-size --intrinsics --poses --output --export "
    "--min-confidence --percentile --mesh --clean-depth --mask-sky --tsdf --cam-size --transparent-cams --engine --masks "
    "--refine --add-to --viewer --fps --max-frames",
    "`mast3r colmap`": "--shared-camera --pairs --graph --dense --pixel-tolerance --min-confidence --no-verify --min-track "
    "--mapper --ignore-poses --glomap-bin --input --output",
    "`mast3r export`": "--format --output --min-confidence --percentile --mesh --clean-depth --mask-sky --tsdf --cam-size "
    "--transparent-cams",
    "`mast3r view`": "--host --port --open",
    "`mast3r visloc localize`": "--images --camera --camera-from --camera-id --focal --queries --retrieval --topk "
    "--exhaustive --cluster --fine --max-image-size --homography --pixel-tolerance --min-confidence --map-stride --solver "
    "--threshold --min-inliers --max-points --align --prior --radius --on-failure --output --report --jobs",
    "`mast3r visloc evaluate`": "--thresholds --parity --limit --shard --label",
    "`mast3r visloc prepare`": "--raw --out --legacy-registration --workers",
    "`mast3r visloc export`": "--format --name-style",
    "`mast3r models`": "convert info",
    "`mast3r doctor`": "--json",
}
"""What the chapter on the demo and the command names, section by section (A1 to A4, D2 to D4, D7, F4)."""


def sections(page: Path) -> dict[str, list[list[str]]]:
    """A page's tables by heading: rows of cells, without the heads."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        rows = [line for line in body.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
        found[heading] = [row for row in cells if not set("".join(row)) <= set("-: ")][1:] if cells else []
    return found


TABLES = sections(CONTROLS_PAGE)
MIGRATIONS = {
    heading: rows for heading, rows in sections(MIGRATION_PAGE).items() if heading.startswith("`mast3r")
}


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@functools.cache
def flags_of(name: str) -> frozenset[str]:
    """Every spelling of a command's options."""
    command: click.Command = root()
    context = click.Context(command, info_name="mast3r")
    for word in name.split():
        assert isinstance(command, click.Group), f"mast3r {name} is no command"
        below = command.get_command(context, word)
        assert below is not None, f"mast3r {name} is no command"
        command = below
    return frozenset(
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    )


def command_named(heading: str) -> str:
    found = re.search(r"`mast3r ([a-z -]+)`", heading)
    return found[1] if found else "demo"


def flags_exist(command: str, words: list[str]) -> None:
    """See that each flag is one of the command's, or of the command that is named with it."""
    for word in words:
        if word.startswith("mast3r "):
            name = word.removeprefix("mast3r ").partition(" -")[0].strip()
            flags_exist(name, re.findall(r"--?[a-z][\w-]*", word.removeprefix(f"mast3r {name}")))
        elif re.match(r"--?[a-z]", word):
            flag = word.split()[0].replace("_", "-")
            assert flag in flags_of(command), f"mast3r {command} has no {flag}"


@functools.cache
def functions_in(file: str) -> frozenset[str]:
    """Functions of a test file: ``test_x.py`` if there is one of this name, else ``package/test_x.py``."""
    package, _, name = file.rpartition("/")
    places = "tests" if package == "tests" else f"packages/{package or '*'}/tests"
    found = [*ROOT.glob(f"{places}/{name}"), *ROOT.glob(f"{places}/*/{name}")]
    assert len(found) == 1, f"{file} is {len(found)} files"
    tree = ast.parse(found[0].read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def rows() -> Iterator[object]:
    for heading, table in TABLES.items():
        for row in table:
            yield pytest.param(heading, row, id=f"{heading}: {row[0]}".replace("`", ""))


@pytest.mark.parametrize(("heading", "row"), list(rows()))
def test_what_a_row_names_is_there(heading: str, row: list[str]) -> None:
    flags_exist(command_named(heading), codes(row[1]))
    if heading.startswith(("`mast3r", "Flags")):
        flags_exist(command_named(heading), codes(row[0]))
    named = codes(row[-1])
    assert named, f"{row[0]}: no test"
    for test in named:
        file, _, function = test.partition("::")
        assert function in functions_in(file), f"{test} is no test"


@pytest.mark.parametrize("heading", SPECIFIED)
def test_no_control_is_left_out(heading: str) -> None:
    specified = SPECIFIED[heading]
    names = specified.split(" | ") if " | " in specified else specified.split()
    found = {name.strip("` ") for row in TABLES[heading] for name in re.split(r"`, `", row[0])}
    assert not [name for name in names if name not in found]


def test_every_control_of_the_page_is_in_the_table() -> None:
    listed = {code for table in TABLES.values() for row in table for code in codes(row[1])}
    assert not [name for name in CONTROLS if name not in listed]
    text = CONTROLS_PAGE.read_text(encoding="utf-8")
    assert not [control.label for control in CONTROLS.values() if f"**{control.label}**" not in text]


@pytest.mark.parametrize("heading", MIGRATIONS)
def test_upstreams_flags_are_accepted_and_ours_exist(heading: str) -> None:
    command = command_named(heading)
    for upstreams, ours, *_ in MIGRATIONS[heading]:
        flags_exist(command, codes(upstreams))
        flags_exist(command, [word for word in codes(ours) if not word.startswith("retrieval-")])


def test_the_migration_table_names_commands_that_exist() -> None:
    for line in MIGRATION_PAGE.read_text(encoding="utf-8").partition("## ")[0].splitlines():
        for code in codes(line):
            if code.startswith("mast3r "):
                words = re.split(r" (?=-)| [a-z]\.jpg", code.removeprefix("mast3r "))[0]
                flags_exist(words, re.findall(r"--[a-z][\w-]*", code))
            if code.startswith("packages/"):
                assert (ROOT / code).exists()


def test_upstreams_names_can_be_imported() -> None:
    import importlib

    text = MIGRATION_PAGE.read_text(encoding="utf-8").partition("## The script for two photos")[2]
    for line in text.partition("\n## ")[0].splitlines():
        if line.startswith("| `") and line.endswith("` |") and "reconstruct" not in line:
            *names, module = codes(line)
            assert not [name for name in names if not hasattr(importlib.import_module(module), name)]
