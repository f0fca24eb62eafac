"""From tree to objects: names are looked up in registries, calls construct, operators combine."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from mast3r_model.errors import ExpressionError, Mast3rError
from mast3r_model.plugins import KINDS, nearest_names, registry, suggestion

from .parser import INTEGER_BOUND
from .tree import (
    CONSTANTS,
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

_APPLY: dict[str, Callable[[object, object], object]] = {
    "+": operator.add,
    "*": operator.mul,
    "@": operator.matmul,
}
_PLAIN = (str, bool, list, tuple, dict, type(None))


@dataclass(frozen=True)
class Builder:
    """Evaluates a tree.

    Args:
        text: the expression, for error messages.
        kinds: plugin kinds whose registries are searched for a name, in this order.
        names: further names, searched first.
    """

    text: str
    kinds: Sequence[str]
    names: Mapping[str, object]

    def build(self, node: Node) -> object:
        """The object that a node stands for."""
        match node:
            case Literal(value):
                return value
            case Reference(name):
                return constant(name) if name in CONSTANTS else self.look_up(name, node)
            case Call():
                return self.construct(node)
            case ListNode(elements):
                return [self.build(element) for element in elements]
            case TupleNode(elements):
                return tuple(self.build(element) for element in elements)
            case DictNode(items):
                return self.dictionary(items)
            case Sign():
                return self.signed(node)
            case Operation():
                return self.combined(node)
        raise TypeError(f"{type(node).__name__} is no node of an expression")

    def look_up(self, name: str, node: Node) -> object:
        if name in self.names:
            return self.names[name]
        for kind in self.kinds:
            if name in (known := registry(kind)):
                return known[name]
        raise self.error(f"{name} is not known{self.searched()}", node, hint=self.suggest(name))

    def searched(self) -> str:
        if not self.kinds:
            return " here"
        return " among the " + ", ".join(kind.replace("_", " ") for kind in self.kinds)

    def suggest(self, name: str) -> str | None:
        everything = {known for kind in self.kinds for known in registry(kind)} | set(self.names)
        elsewhere = [kind for kind in KINDS if kind not in self.kinds and name in registry(kind)]
        if elsewhere and not any(known.casefold() == name.casefold() for known in everything):
            return f"it is known among the {elsewhere[0].replace('_', ' ')}"
        return suggestion(name, everything)

    def construct(self, node: Call) -> object:
        factory = self.look_up(node.name, node)
        if not callable(factory):
            raise self.error(f"{node.name} takes no arguments: it is a ready object", node)
        arguments = [self.build(argument) for argument in node.arguments]
        keywords = {name: self.build(value) for name, value in node.keywords}
        self.check_arguments(factory, node, arguments, keywords)
        try:
            return factory(*arguments, **keywords)
        except Mast3rError:
            raise
        except (TypeError, ValueError) as error:
            raise self.error(f"{node.name}: {error}", node) from error

    def check_arguments(
        self, factory: Callable[..., object], node: Call, arguments: list[object], keywords: dict[str, object]
    ) -> None:
        """Refuse arguments that the factory does not take, before it runs."""
        try:
            signature = inspect.signature(factory)
        except (TypeError, ValueError):
            return
        parameters = signature.parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            for name, value in node.keywords:
                if name not in parameters:
                    message = f"{node.name} takes no argument {name}"
                    raise self.error(message, value, hint=_what_it_takes(parameters, name))
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise self.error(f"{node.name}: {error}", node, hint=_what_it_takes(parameters)) from None

    def dictionary(self, items: Sequence[tuple[Node, Node]]) -> dict[object, object]:
        result: dict[object, object] = {}
        for key, value in items:
            built = self.build(key)
            try:
                result[built] = self.build(value)
            except TypeError as error:
                raise self.error(f"this cannot be a key: {error}", key) from None
        return result

    def signed(self, node: Sign) -> object:
        value = self.build(node.operand)
        if not is_number(value):
            raise self.error(f"the sign {node.symbol} needs a number, not {_describe(value)}", node)
        return -value if node.symbol == "-" else +value

    def combined(self, node: Operation) -> object:
        """The value of a chain of operators, from the left, in a loop."""
        chain = [node]
        while isinstance(chain[-1].left, Operation):
            chain.append(chain[-1].left)
        result = self.build(chain[-1].left)
        for link in reversed(chain):
            result = self.apply(link, result, self.build(link.right))
        return result

    def apply(self, node: Operation, left: object, right: object) -> object:
        """One operation, if the table of spec 40 section 1.3 has it for these operands."""
        if is_number(left) and is_number(right) and node.operator == "*":
            return self.product(node, left, right)
        if not _applies(node.operator, left, right):
            raise self.operands_error(node, left, right)
        try:
            return _APPLY[node.operator](left, right)
        except Mast3rError:
            raise
        except TypeError as error:
            raise self.operands_error(node, left, right) from error
        except ValueError as error:
            raise self.error(str(error), node) from error

    def product(self, node: Operation, left: int | float, right: int | float) -> int | float:
        try:
            result = left * right
        except OverflowError:
            result = math.inf
        finite = math.isinf(left) or math.isinf(right) or not math.isinf(result)
        if (isinstance(result, int) and abs(result) >= INTEGER_BOUND) or not finite:
            raise self.error("the product is too large", node)
        return result

    def operands_error(self, node: Operation, left: object, right: object) -> ExpressionError:
        symbol = node.operator
        place = self.text.find(symbol, node.left.end)
        message = f"{symbol} does not combine {_describe(left)} and {_describe(right)}"
        return ExpressionError(message, self.text, max(place, node.left.end))

    def error(self, message: str, node: Node, *, hint: str | None = None) -> ExpressionError:
        return ExpressionError(message, self.text, node.offset, hint=hint)


def constant(name: str) -> object:
    """The value of one of ``CONSTANTS``; torch is imported only when one of its dtypes is asked for."""
    if name.startswith("torch."):
        import torch

        return getattr(torch, name.removeprefix("torch."))
    return math.nan if name == "nan" else math.inf


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether operators treat the value as a number: True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _applies(symbol: str, left: object, right: object) -> bool:
    """Whether the operator may be tried: never on text and containers, and numbers only where they scale."""
    if isinstance(left, _PLAIN) or isinstance(right, _PLAIN):
        return False
    numbers = (is_number(left), is_number(right))
    allowed = {"+": [(False, False)], "*": [(True, False), (False, True)], "@": [(True, False)]}
    return numbers in allowed[symbol]


def _what_it_takes(parameters: Mapping[str, inspect.Parameter], wrong: str = "") -> str:
    """A hint that lists all arguments, those that look most like a wrong one first."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = [name for name, parameter in parameters.items() if parameter.kind not in variadic]
    near = nearest_names(wrong, known) if wrong else []
    listed = ", ".join([*near, *(name for name in known if name not in near)])
    if not listed:
        return "it takes none"
    return f"did you mean {' or '.join(near)}? It takes {listed}" if near else f"it takes {listed}"


def _describe(value: object) -> str:
    if is_number(value):
        return f"the number {value!r}"
    if isinstance(value, type):
        return f"the class {value.__name__} (not called)"
    return f"a {type(value).__name__}"
