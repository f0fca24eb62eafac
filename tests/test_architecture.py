"""The tree is the architecture: what may import what, how long files are, what never appears in code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ALLOWED = {
    "curope": set(),
    "croco_backbone": {"curope"},
    "mast3r_model": {"croco_backbone", "curope"},
    "mast3r_match": {"mast3r_model"},
    "mast3r_sfm": {"mast3r_match", "mast3r_model"},
    "mast3r_visloc": {"mast3r_match", "mast3r_model"},
    "mast3r_train": {"mast3r_model", "croco_backbone"},
    "mast3r_demo": {"mast3r_sfm", "mast3r_match", "mast3r_model"},
}
"""Which of our packages each of our packages may import."""

DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow"}
"""Distributions whose name is not that of their module."""

OPTIONAL_IMPORTS = {"pillow_heif", "triton", "h5py", "peft", "ray", "habitat_sim", "viser"}
"""Imported behind a check, or an extra."""

INDIRECT = {"tensorboard", "croco-backbone"}
"""Needed by torch.utils.tensorboard; named in an import string of the plugin registry."""

FORBIDDEN_CALLS = re.compile(r"(^|[^.\w])(eval|exec)\(|weights_only=False|pickle\.loads?\(|allow_pickle=True")


def sources(package: str) -> list[Path]:
    folder = next((ROOT / "packages").glob(f"*/src/{package}"))
    return sorted(folder.rglob("*.py"))


def every_source() -> Iterator[Path]:
    for package in ALLOWED:
        yield from sources(package)


def imports_of(path: Path) -> Iterator[tuple[str, list[str], int]]:
    """(module, names taken from it, line) of every absolute import of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, [alias.name for alias in node.names], node.lineno


def test_every_package_is_listed() -> None:
    found = {path.name for path in (ROOT / "packages").glob("*/src/*") if path.is_dir()}
    assert found == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_down(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources(package)
        for module, _, line in imports_of(path)
        if (top := module.split(".")[0]) in ALLOWED and top != package and top not in ALLOWED[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_nobody_uses_private_names_of_another_package(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} takes {names} from {module}"
        for path in sources(package)
        for module, names, line in imports_of(path)
        if module.split(".")[0] in ALLOWED and module.split(".")[0] != package
        if any(part.startswith("_") for part in [*module.split(".")[1:], *names])
    ]
    assert not wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_dependencies_are_what_is_imported(package: str) -> None:
    """What a package imports at run time stands in its pyproject.toml, and nothing else does."""
    manifest = next((ROOT / "packages").glob(f"*/src/{package}")).parent.parent / "pyproject.toml"
    project = tomllib.loads(manifest.read_text(encoding="utf-8"))["project"]
    declared = {_canonical(re.split(r"[^\w-]", requirement)[0]) for requirement in project["dependencies"]}
    imported = {
        _canonical(DISTRIBUTIONS.get(top, top))
        for path in sources(package)
        for module, _, _ in imports_of(path)
        if (top := module.split(".")[0]) not in sys.stdlib_module_names
        and top != package
        and top not in OPTIONAL_IMPORTS
    }
    if package == "curope":
        imported.discard("jaxtyping")  # for type checkers only
    assert imported - declared == set()
    assert declared - imported - INDIRECT == set()


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def test_modules_of_a_package_import_each_other_without_circles() -> None:
    """At run time, that is outside functions and TYPE_CHECKING blocks."""
    graph: dict[str, set[str]] = {}
    for package in ALLOWED:
        base = next((ROOT / "packages").glob(f"*/src/{package}")).parent
        for path in sources(package):
            name = ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = set(_top_level_imports(path, name))
    known = set(graph)
    graph = {name: {target for target in targets if target in known} for name, targets in graph.items()}
    assert _find_circle(graph) is None


def _top_level_imports(path: Path, name: str) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield f"{module}.{alias.name}"
            if node.module:
                yield module


def _find_circle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str] | None:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return None
        for target in sorted(graph[name]):
            # Every module imports its package's __init__; that is no circle of modules.
            if target == name or name.startswith(f"{target}."):
                continue
            circle = visit(target, [*trail, name])
            if circle:
                return circle
        done.add(name)
        return None

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), None)


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in every_source()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_no_drawer_and_no_unsafe_call() -> None:
    assert not [path for path in every_source() if path.stem in {"utils", "helpers", "misc", "common"}]
    unsafe = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in every_source()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FORBIDDEN_CALLS.search(line) and not re.search(r"\.(eval|exec)\(|``|\"\"\"", line)
    ]
    assert not unsafe


@pytest.mark.parametrize("package", ALLOWED)
def test_package_ships_its_papers(package: str) -> None:
    folder = next((ROOT / "packages").glob(f"*/src/{package}")).parent.parent
    for name in ("README.md", "CHANGELOG.md", "pyproject.toml", f"src/{package}/py.typed"):
        assert (folder / name).exists(), f"{folder.name} lacks {name}"


def test_no_tracked_text_names_a_machine_or_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    # uv.lock has its own check (tools/lock.py), of what is committed and not of what uv completed.
    own = {"uv.lock", Path(__file__).relative_to(ROOT).as_posix()}
    foreign = re.compile(rb"pypi\.org|pythonhosted\.org|download\.pytorch\.org|/(?:root|work|tmp|home/\w+)/")
    texts = [ROOT / name for name in listed.stdout.splitlines() if name not in own]
    contents = {path: path.read_bytes() for path in texts if path.is_file()}
    wrong = [
        str(path.relative_to(ROOT))
        for path, content in contents.items()
        if b"\0" not in content and foreign.search(content)
    ]
    assert not wrong
