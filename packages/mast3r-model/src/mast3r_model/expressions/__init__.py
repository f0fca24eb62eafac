"""The expression language of datasets, losses, transforms and models (spec 00, spec 40 section 1).

``parse_expression(text)`` reads the text and runs nothing; ``Expression.build(kinds)`` looks names up among
the plugins of these kinds and constructs the objects.
"""

from .expression import Expression, Term, parse_expression
from .tree import (
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

__all__ = [
    "Call",
    "DictNode",
    "Expression",
    "ListNode",
    "Literal",
    "Node",
    "Operation",
    "Reference",
    "Sign",
    "Term",
    "TupleNode",
    "parse_expression",
]
