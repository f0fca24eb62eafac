"""The error family: messages, hints, exit codes, carets."""

from __future__ import annotations

import pytest

import mast3r_model
from mast3r_model import ExpressionError, Mast3rError, NothingFoundError


def test_message_and_hint() -> None:
    error = Mast3rError("no such thing", "try another")
    assert (str(error), error.message, error.hint) == ("no such thing", "no such thing", "try another")
    assert Mast3rError("alone").hint is None


@pytest.mark.parametrize("name", [name for name in mast3r_model.__all__ if name.endswith("Error")])
def test_every_error_belongs_to_the_family(name: str) -> None:
    kind = getattr(mast3r_model, name)
    assert issubclass(kind, Mast3rError)
    assert kind.exit_code == (4 if kind is NothingFoundError else 1)
    assert kind.__doc__


def test_caret() -> None:
    assert str(ExpressionError("bad", "A(?)", 2)) == "bad\n  A(?)\n    ^"
    assert str(ExpressionError("bad")) == "bad"
    assert str(ExpressionError("bad", "A(\n  ?)", 5)) == "bad\n    ?)\n    ^"
    assert str(ExpressionError("bad", "x" * 300, 150)).splitlines()[2].index("^") == 2 + 3 + 38


def test_public_names_resolve_and_are_listed() -> None:
    for name in mast3r_model.__all__:
        assert getattr(mast3r_model, name) is not None
        assert name in dir(mast3r_model)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mast3r_model.nonsense  # noqa: B018
