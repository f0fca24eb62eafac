"""Building expressions: names, calls, operators, and where their errors point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mast3r_model import ExpressionError, hookimpl, parse_expression, temporary_plugin


@dataclass
class Weighted:
    """A stand-in for a loss: scales and adds, and remembers how."""

    text: str

    def __rmul__(self, factor: float) -> Weighted:
        if factor == 13:
            raise ValueError("13 brings bad luck")
        return Weighted(f"{factor}*{self.text}")

    __mul__ = __rmul__

    def __add__(self, other: object) -> Weighted:
        return Weighted(f"({self.text}+{other.text})") if isinstance(other, Weighted) else NotImplemented


class Sized:
    """A stand-in for a dataset."""

    def __init__(self, split: str, *, transform: object = None) -> None:
        if split not in ("train", "test"):
            raise ValueError(f"split {split!r} is neither train nor test")
        self.split, self.transform, self.size = split, transform, 0

    def __rmatmul__(self, size: int) -> Sized:
        self.size = size
        return self


class Plugin:
    @hookimpl
    def mast3r_losses(self) -> dict[str, object]:
        return {"Heavy": Weighted, "ReadyOne": Weighted("ReadyOne"), "Broken": "no_such_module_here:Thing"}

    @hookimpl
    def mast3r_datasets(self) -> dict[str, object]:
        return {"Sized": Sized, "Nothing": lambda: None}


@pytest.fixture
def _plugin() -> Iterator[None]:
    with temporary_plugin(Plugin(), "of-the-test"):
        yield


@pytest.mark.usefixtures("_plugin")
def test_build() -> None:
    loss = parse_expression("0.5*Heavy('a') + Heavy('b')*2 + ReadyOne").build(["losses"])
    assert loss == Weighted("((0.5*a+2*b)+ReadyOne)")
    sized = parse_expression("2*10 @ Sized('train', transform=Heavy)").build(["datasets", "losses"])
    assert isinstance(sized, Sized)
    assert sized.size == 20
    assert sized.transform is Weighted
    assert parse_expression("Mine('x')").build([], {"Mine": Weighted}) == Weighted("x")


@pytest.mark.usefixtures("_plugin")
@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("Heavy('a') + 1", "+", "a Weighted and the number 1"),
        ("1 + 2", "+", "number 1 and the number 2"),
        ("'a' * 100", "*", "a str"),
        ("[1] + [2]", "+", "a list"),
        ("True * Heavy('a')", "*", "a bool"),
        ("Heavy + Heavy('a')", "+", "class Weighted"),
        ("2 @ Heavy('a')", "@", "the number 2 and a Weighted"),
        ("13 * Heavy('a')", "13", "bad luck"),
        ("Heavy('a') @ 2", "@", "does not combine"),
        ("Heavy('a') * Heavy('b')", "*", "does not combine"),
        ("-Heavy('a')", "-", "needs a number"),
        ("-True", "-", "needs a number"),
        ("4611686018427387904 * 2", "4611", "too large"),
        ("1e300 * 1e300", "1e300", "too large"),
        ("Heavyy('a')", "Heavyy", "not known"),
        ("Sized('train')", "Sized", "not known among the losses"),
        ("Heavy(texd='a')", "'a'", "no argument texd"),
        ("Heavy()", "Heavy", "missing a required argument"),
        ("ReadyOne(1)", "ReadyOne", "ready object"),
        ("{[1]: 2}", "[1]", "key"),
    ],
)
def test_build_errors(text: str, place: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text).build(["losses"])
    error = caught.value
    assert words in error.message
    assert error.offset is not None
    assert error.text[error.offset :].startswith(place)


@pytest.mark.usefixtures("_plugin")
def test_hints() -> None:
    for text, hint in [("heavy()", "Heavy"), ("Sized()", "among the datasets"), ("Heavy(tekst=1)", "text")]:
        with pytest.raises(ExpressionError) as caught:
            parse_expression(text).build(["losses"])
        assert hint in (caught.value.hint or "")


@pytest.mark.usefixtures("_plugin")
def test_arguments_are_listed_the_nearest_first() -> None:
    for text, hint in [
        ("Sized('train', trnsform=1)", "did you mean transform? It takes transform, split"),
        ("Sized('train', colour=1)", "it takes split, transform"),
        ("Sized()", "it takes split, transform"),
        ("Nothing(1)", "it takes none"),
        ("sized()", "did you mean Sized?"),
    ]:
        with pytest.raises(ExpressionError) as caught:
            parse_expression(text).build(["datasets"])
        assert caught.value.hint == hint


@pytest.mark.usefixtures("_plugin")
def test_constructor_errors_name_the_place() -> None:
    with pytest.raises(ExpressionError, match="neither train nor test") as caught:
        parse_expression("10 @ Sized('val')").build(["datasets"])
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.offset == 5
