"""The syntax tree of an expression: plain frozen values that know where in the text they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

Value = int | float | str | bool | None
Operator = OneOf["+", "*", "@"]
SignSymbol = OneOf["+", "-"]

CONSTANTS = ("inf", "nan", "np.inf", "torch.float16", "torch.bfloat16", "torch.float32", "torch.float64")
"""References with a meaning of their own (spec 40 section 1.2); any other is a registered name."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """Any part of an expression.

    Args:
        offset: index of its first character in the text as given.
        end: index after its last character.
    """

    offset: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Literal(Node):
    """A number, a string, True, False or None."""

    value: Value

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are equal in Python, but not the same literal.
        same = isinstance(other, Literal) and type(self.value) is type(other.value)
        return same and self.value == getattr(other, "value", None)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True)
class Reference(Node):
    """A bare name: a registered name, or one of ``CONSTANTS``."""

    name: str


@dataclass(frozen=True)
class Call(Node):
    """A registered name with arguments."""

    name: str
    arguments: tuple[Node, ...] = ()
    keywords: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True)
class ListNode(Node):
    """``[a, b]``"""

    elements: tuple[Node, ...]


@dataclass(frozen=True)
class TupleNode(Node):
    """``(a, b)``"""

    elements: tuple[Node, ...]


@dataclass(frozen=True)
class DictNode(Node):
    """``{a: b}``"""

    items: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Sign(Node):
    """``-a`` or ``+a``"""

    symbol: SignSymbol
    operand: Node


@dataclass(frozen=True)
class Operation(Node):
    """``left + right``, ``left * right`` or ``left @ right``; chains lean to the left, as in Python."""

    operator: Operator
    left: Node
    right: Node
