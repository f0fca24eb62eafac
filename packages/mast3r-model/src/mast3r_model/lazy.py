"""Packages whose names are imported on first use (PEP 562), so that importing the package is cheap."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType


def lazy_names(
    package: str, module_of: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that re-exports names without importing them yet::

        __getattr__, __dir__ = lazy_names(__name__, {"load_model": "loading"})

    For type checkers the package also imports the names inside ``if TYPE_CHECKING``.

    Args:
        package: the package's ``__name__``.
        module_of: public name -> the package's own module that holds it.

    Returns:
        The two functions; the first keeps what it found as an attribute of the package. A name that is also
        that of its module (``from .reconstruct import reconstruct``) stays the name, whoever imports the
        module first.
    """

    def get(name: str) -> object:
        module = module_of.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{module}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    class LazyPackage(ModuleType):
        """Python binds a submodule to its package when it is imported; a public name is not to be hidden."""

        def __setattr__(self, name: str, value: object) -> None:
            if not (isinstance(value, ModuleType) and name in module_of):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = LazyPackage
    return get, names
