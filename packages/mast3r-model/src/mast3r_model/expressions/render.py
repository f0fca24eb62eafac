"""From tree back to text, with as few parentheses as the meaning needs."""

from __future__ import annotations

from .tree import Call, DictNode, ListNode, Literal, Node, Operation, Reference, Sign, TupleNode

_SUM, _PRODUCT, _SIGN, _ATOM = range(4)


def to_text(node: Node) -> str:
    """Text that parses to the same tree (offsets aside)."""
    match node:
        case Literal(value):
            return repr(value)
        case Reference(name):
            return name
        case Call(name, arguments, keywords):
            shown = [to_text(argument) for argument in arguments]
            return f"{name}({', '.join([*shown, *(f'{key}={to_text(value)}' for key, value in keywords)])})"
        case ListNode(elements):
            return f"[{', '.join(map(to_text, elements))}]"
        case TupleNode(elements):
            return f"({', '.join(map(to_text, elements))}{',' if len(elements) == 1 else ''})"
        case DictNode(items):
            return f"{{{', '.join(f'{to_text(key)}: {to_text(value)}' for key, value in items)}}}"
        case Sign(symbol, operand):
            return symbol + _at_least(_SIGN, operand)
        case Operation(operator, left, right):
            level = _level(node)
            return f"{_at_least(level, left)} {operator} {_at_least(level + 1, right)}"
    raise TypeError(f"{type(node).__name__} is no node of an expression")


def _at_least(level: int, node: Node) -> str:
    text = to_text(node)
    return text if _level(node) >= level else f"({text})"


def _level(node: Node) -> int:
    match node:
        case Operation(operator, _, _):
            return _SUM if operator == "+" else _PRODUCT
        case Sign():
            return _SIGN
    return _ATOM
