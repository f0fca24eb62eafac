"""The committed form of uv.lock."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent

COMPLETED = """version = 1

[[package]]
name = "torch"
version = "2.15.0"
source = { registry = "https://registry.example/simple" }
sdist = { url = "https://files.example/ab/torch-2.15.0.tar.gz", hash = "sha256:00" }
wheels = [
    { url = "https://files.example/cd/torch-2.15.0-py3-none-any.whl", hash = "sha256:11", size = 3 },
]

[[package]]
name = "mast3r"
source = { editable = "." }

[package.metadata]
requires-dist = [{ name = "torch" }]

[package.metadata.requires-dev]
dev = [{ name = "pytest", specifier = ">=8" }]

[[package]]
name = "zlib"
"""


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tools" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_addresses_and_metadata_go_and_the_rest_stays(lock: ModuleType) -> None:
    form = lock.committed_form(COMPLETED)
    assert "://" not in form
    assert "package.metadata" not in form
    assert 'source = { registry = "pypi" }' in form
    assert '{ path = "torch-2.15.0-py3-none-any.whl", hash = "sha256:11", size = 3 }' in form
    assert 'sdist = { path = "torch-2.15.0.tar.gz", hash = "sha256:00" }' in form
    assert form.endswith('[[package]]\nname = "zlib"\n')


def test_the_committed_form_stays_as_it_is(lock: ModuleType) -> None:
    form = lock.committed_form(COMPLETED)
    assert lock.committed_form(form) == form
