"""Reading a pickle of plain values and arrays, and nothing else.

A pickle is a program. Of its instructions only those that make numbers, text, lists and dictionaries are
followed, and of the functions that it may name only the few that spell an array: each is replaced by a
stand-in of ours that checks what it is given, so that neither the pickle's functions nor numpy's own
unpickling code ever see it.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mast3r_model import CheckpointError, UnsafeCheckpointError

_DTYPE = re.compile(r"[<>=|]?[fiu][1248]")
MAX_BYTES = 4 * 1024**3
MAX_DEPTH = 32

_TRUST = "get the file from a source that you trust"


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """The pickle asked for something that is not allowed."""


class _Dtype:
    """Stands in for ``numpy.dtype``: plain numbers only."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"an array of {code!r}")
        self.code = code.lstrip("<>=|")
        self.order = code[0] if code[0] in "<>=|" else "="

    def __setstate__(self, state: object) -> None:
        # (version, byte order, subdtype, names, fields, itemsize, alignment, flags)
        if not isinstance(state, tuple) or len(state) < 5:
            raise _Refused("a changed kind of number")
        if state[2:5] != (None, None, None) or state[1] not in ("<", ">", "=", "|"):
            raise _Refused("an array of records")
        self.order = state[1]

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(("=" if self.order == "|" else self.order) + self.code)


class _Array:
    """Stands in for an array until its contents have come."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("a changed array")
        _, shape, dtype, is_fortran, raw = state
        self.values = _array(raw, dtype, shape, "F" if is_fortran else "C")


class _StandIn:
    """A function that a pickle may name; it can be called, but not be changed by the pickle."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise _Refused("a changed function")


def _no_call(*_: object) -> NoReturn:
    raise _Refused("an array made by calling its class")


_ARRAY_TYPE = _StandIn(_no_call)
"""Stands in for the class ``numpy.ndarray``, which pickles name but do not call."""


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _ARRAY_TYPE:
        raise _Refused("an array of another class")
    return _Array()


def _frombuffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    made = _Array()
    made.values = _array(raw, dtype, shape, order)
    return made


def _array(raw: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray)) or order not in ("C", "F"):
        raise _Refused("an array of objects")
    if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise _Refused(f"an array of shape {shape!r}")
    exact = dtype.numpy()
    if len(raw) != math.prod(shape) * exact.itemsize:
        raise _Refused("an array of another size than its contents")
    values = np.frombuffer(raw, dtype=exact).reshape(shape, order="C" if order == "C" else "F")
    return values.astype(exact.newbyteorder("="))


def _latin1(text: object, encoding: object) -> bytes:
    """Stands in for ``codecs.encode``, which is how old protocols spell bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("text in an encoding")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy", "dtype"): _StandIn(_Dtype),
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_frombuffer),
    ("numpy._core.numeric", "_frombuffer"): _StandIn(_frombuffer),
    ("_codecs", "encode"): _StandIn(_latin1),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise UnsafeCheckpointError(
                f"refused to load it: its pickle wants to use {module}.{name}, which could run any code",
                hint=_TRUST,
            ) from None


def read_plain_pickle(path: Path) -> object:
    """What a pickle of numbers, text, lists, dictionaries and arrays of numbers holds.

    Raises:
        UnsafeCheckpointError: it asks for anything else. Nothing was run.
        CheckpointError: missing, or damaged.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES >> 30} GiB: that is no codebook")
        with path.open("rb") as file:
            return _finished(_PlainUnpickler(file).load())
    except UnsafeCheckpointError as error:
        raise UnsafeCheckpointError(f"{path}: {error.message}", hint=error.hint) from None
    except _Refused as error:
        raise UnsafeCheckpointError(
            f"refused to load {path}: its pickle holds {error}",
            hint=_TRUST,
        ) from None
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}", hint="check the path") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    # A damaged pickle fails in many ways, as does one that calls a stand-in with something strange.
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(path, error) from error
    except (KeyError, OverflowError, MemoryError, RecursionError, UnicodeError, ImportError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return CheckpointError(
        f"{path} is no pickle, or a damaged one ({reason[:120]})", hint="copy or download it again"
    )


def _finished(value: object, seen: dict[int, object] | None = None, depth: int = 0) -> object:
    """The value with arrays in place of their stand-ins; what is in several places is visited once."""
    seen = {} if seen is None else seen
    if depth > MAX_DEPTH:
        raise _Refused("lists of lists without end")
    if id(value) not in seen:
        seen[id(value)] = _finished_once(value, seen, depth + 1)
    return seen[id(value)]


def _finished_once(value: object, seen: dict[int, object], depth: int) -> object:
    if isinstance(value, _Array):
        if value.values is None:
            raise _Refused("an array without contents")
        return value.values
    if isinstance(value, dict):
        return {key: _finished(inner, seen, depth) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finished(inner, seen, depth) for inner in value]
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise _Refused(f"a {type(value).__name__}")
