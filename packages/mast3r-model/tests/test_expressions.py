"""The expression language: upstream's published texts, what is refused, places, operators, properties."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mast3r_model import ExpressionError, parse_expression
from mast3r_model.expressions import (
    Call,
    DictNode,
    ListNode,
    Literal,
    Node,
    Operation,
    Reference,
    Sign,
    TupleNode,
)


def as_golden(node: Node) -> object:
    """Our tree in the golden's notation."""
    match node:
        case Literal(value):
            return {"none": True} if value is None else {type(value).__name__: value}
        case Reference(name):
            return {"attr" if "." in name else "name": name}
        case Call(name, arguments, keywords):
            shown = {key: as_golden(value) for key, value in keywords}
            return {"call": name, "args": [as_golden(argument) for argument in arguments], "kwargs": shown}
        case ListNode(elements):
            return {"list": [as_golden(element) for element in elements]}
        case DictNode(items):
            return {"dict": [[as_golden(key), as_golden(value)] for key, value in items]}
        case TupleNode(elements):
            return {"tuple": [as_golden(element) for element in elements]}
        case Sign(symbol, operand):
            return {"unary": symbol, "operand": as_golden(operand)}
        case Operation(operator, left, right):
            return {"op": operator, "left": as_golden(left), "right": as_golden(right)}
    raise AssertionError(node)


def test_published_texts(goldens: Callable[[str], Path]) -> None:
    cases = json.loads(goldens("train/expr/parse_cases.json").read_text())
    assert len(cases["accept"]) == 23
    for case in cases["accept"]:
        expression = parse_expression(case["expr"])
        assert as_golden(expression.root) == case["ast"], case["expr"]
        assert parse_expression(expression.to_text()) == expression


def test_refused_texts(goldens: Callable[[str], Path]) -> None:
    cases = json.loads(goldens("train/expr/parse_cases.json").read_text())
    assert len(cases["reject"]) == 30
    for text in cases["reject"]:
        with pytest.raises(ExpressionError) as caught:
            parse_expression(text)
        assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "caret_at", "words"),
    [
        ("A() - B()", "-", "operator -"),
        ("  A(x=1 // 2)", "//", "operator //"),
        ("A('é', 'ü', [1 for x in y])", "[1", "comprehension"),
        ("A(\n  'é',\n  b.c.d)", "b.c.d", "dot"),
        ("A(1, x=3, x=4)", "x=4", "twice"),
        ("A(['a' 'b'])", "'a'", "side by side"),
        ("A(9223372036854775808)", "922", "2**63"),
        ("A(1e999)", "1e999", "too large"),
        ("A(torch.float17)", "torch", "torch.float17"),
        ("(1, 2), 3", "(1", "parentheses"),
        ("(1), (2)", "(1", "parentheses"),
        ("A(f'{x}')", "f'", "f-string"),
        ("A(*[1])", "*[", "not allowed"),
        ("A()()", "A", "bare name"),
        ("A(...)", "...", "not allowed"),
        ("~1", "~", "not allowed"),
    ],
)
def test_caret_is_under_the_place(text: str, caret_at: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    error = caught.value
    assert words in error.message
    assert error.offset is not None
    assert error.text[error.offset :].startswith(caret_at)
    *_, line, caret = str(error).splitlines()
    assert line[caret.index("^")] == caret_at[0]


def test_caret_in_a_long_line() -> None:
    text = "A(" + "1, " * 100 + "x.y.z, " + "2, " * 100 + ")"
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    *_, line, caret = str(caught.value).splitlines()
    assert len(line) < 100
    assert line[caret.index("^") :].startswith("x.y.z")


@pytest.mark.parametrize(
    "text",
    [
        "", "   \n", "a" * 70_000, "(" * 300 + ")" * 300, "[" * 65 + "]" * 65, "-" * 50_000 + "1",
        "A(" * 5000, "+".join(["A()"] * 300), f"[{'1,' * 4097}]", "A\0", "\ud800", "'\ud800", "1" * 5000,
        "A() = 1", "import os", "a\nb", "{" * 60, "((((((((((((((((((((((((((1!",
    ],
)  # fmt: skip
def test_bounds(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 64 + "]" * 64, "+".join(["A()"] * 200), f"[{'1,' * 4096}]", "('norm')", "'''a''b'''", "r'\\d'",
        "()", "(1,)", "((1, 2))", "A(x=(), )", "A( # a comment\n 1)", "{}", "57_000", "1.", "1e-3", "0x_ff",
        "+ + - 1", "9223372036854775807", "'C:\\data'", "\"it's\"", "''",
    ],
)  # fmt: skip
def test_accepted(text: str) -> None:
    expression = parse_expression(text)
    assert parse_expression(expression.to_text()) == expression


def test_precedence() -> None:
    assert parse_expression("2*10 @ A()") == parse_expression("(2*10) @ A()")
    assert parse_expression("2*10 @ A()") != parse_expression("2*(10 @ A())")
    assert parse_expression("-1.*A()") == parse_expression("(-1.)*A()")
    assert parse_expression("2*(10 @ A())").to_text() == "2 * (10 @ A())"
    assert parse_expression("1") != parse_expression("1.0") != parse_expression("True")
    assert isinstance(parse_expression("('norm')").root, Literal)


def test_literals() -> None:
    import torch

    build = parse_expression("[inf, -np.inf, torch.float16, {'a': (1, 2.5)}, None, True, 3*4, +2]").build
    assert build([]) == [math.inf, -math.inf, torch.float16, {"a": (1, 2.5)}, None, True, 12, 2]
    assert math.isnan(parse_expression("nan").build([]))  # type: ignore[arg-type]


def test_call_of_a_model() -> None:
    name, keywords = parse_expression(
        "AsymmetricMASt3R(depth_mode=('exp', -inf, inf), two_confs=True)"
    ).call()
    assert name == "AsymmetricMASt3R"
    assert keywords == {"depth_mode": ("exp", -math.inf, math.inf), "two_confs": True}
    for text in ["3", "A(1)", "A(x=B())", "A(x=os)", "A() + B()"]:
        with pytest.raises(ExpressionError):
            parse_expression(text).call()


def test_terms() -> None:
    text = " 1_000 @ Blended(root='a+b') + Sky(x=1+2) + 1_000 @ Blended() + plain"
    terms = parse_expression(text).terms()
    assert [term.name for term in terms] == ["1_000 @ Blended", "Sky", "1_000 @ Blended#2", "plain"]
    assert [term.text for term in terms] == [
        "1_000 @ Blended(root='a+b')",
        "Sky(x=1+2)",
        "1_000 @ Blended()",
        "plain",
    ]
    assert terms[1].expression == parse_expression("Sky(x=1+2)")


def test_parsing_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, mast3r_model; mast3r_model.parse_expression('A(fp=torch.float16, x=np.inf)');"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
