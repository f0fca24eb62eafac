"""From text to tree: Python's own grammar, reduced to a closed list of node kinds (spec 40 section 1.1)."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Sequence

from mast3r_model.errors import ExpressionError
from mast3r_model.plugins import suggestion

from .tree import (
    CONSTANTS,
    Call,
    DictNode,
    ListNode,
    Literal,
    Node,
    Operation,
    Operator,
    Reference,
    Sign,
    SignSymbol,
    TupleNode,
)

MAX_LENGTH = 64 * 1024
MAX_NESTING = 64
MAX_ELEMENTS = 4096
MAX_OPERATORS = 256
INTEGER_BOUND = 2**63

_NEWLINE = re.compile(r"\r\n|\r|\n")
_ONE_STRING = re.compile(
    r"""[rRuU]?(?P<quote>'{3}|"{3}|'|")(?:(?!(?P=quote))[^\\]|\\.)*(?P=quote)""", re.DOTALL
)

_OPERATORS: dict[type[ast.operator], Operator] = {ast.Add: "+", ast.Mult: "*", ast.MatMult: "@"}
_SIGNS: dict[type[ast.unaryop], SignSymbol] = {ast.UAdd: "+", ast.USub: "-"}
_REFUSED_OPERATORS = {
    ast.Sub: "-",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Pow: "**",
    ast.Mod: "%",
    ast.BitOr: "|",
    ast.BitAnd: "&",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}


def parse_text(text: str) -> Node:
    """Read an expression. Nothing is imported, looked up or executed.

    Args:
        text: such as ``"1000 @ Co3d(split='train', resolution=(512, 384)) + SyntheticScenes(50)"``.

    Returns:
        The root of its tree.

    Raises:
        ExpressionError: the text is empty, too long, nested too deeply, no valid syntax, or holds something
            that expressions do not have; ``offset`` is the place.
    """
    if not text.strip():
        raise ExpressionError("the expression is empty", text)
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {MAX_LENGTH}")
    return _Parser(text).parse()


class _Parser:
    """Walks Python's syntax tree and builds ours, refusing every kind of node that is not on the list."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.body = text.strip()
        self.start = len(text) - len(text.lstrip())
        self.operators = 0
        self.lines = _NEWLINE.split(self.body)
        self.line_starts = [0, *(newline.end() for newline in _NEWLINE.finditer(self.body))]
        self.converters: dict[type[ast.expr], Callable[..., Node]] = {
            ast.Constant: self.literal,
            ast.Name: self.name,
            ast.Attribute: self.attribute,
            ast.Call: self.call,
            ast.List: self.list_node,
            ast.Tuple: self.tuple_node,
            ast.Dict: self.dict_node,
            ast.UnaryOp: self.sign,
            ast.BinOp: self.operation,
        }

    def parse(self) -> Node:
        return self.convert(self.python_tree(), 1)

    def python_tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                # A backslash in a Windows path is worth no warning about escape sequences.
                warnings.simplefilter("ignore")
                root = ast.parse(self.body, mode="eval").body
                # Only a tuple in parentheses stays one element between brackets.
                bare = isinstance(root, ast.Tuple) and _count_elements(self.body) != 1
        except SyntaxError as error:
            raise self.syntax_error(error) from None
        except (MemoryError, RecursionError):
            message = f"the expression is nested more than {MAX_NESTING} levels deep"
            raise ExpressionError(message, self.text) from None
        except ValueError as error:
            raise ExpressionError(f"the expression has a forbidden character: {error}", self.text) from None
        if bare:
            raise self.error("a tuple needs parentheses", root)
        return root

    def convert(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise self.error(f"nested more than {MAX_NESTING} levels deep", node)
        converter = self.converters.get(type(node))
        if converter is None:
            raise self.error(f"{_describe(node)} is not allowed in an expression", node)
        return converter(node, depth)

    def literal(self, node: ast.Constant, depth: int) -> Node:
        value = node.value
        if isinstance(value, str):
            self.check_single_string(node)
        elif isinstance(value, bool) or value is None:
            pass
        elif isinstance(value, int):
            self.check_magnitude(value, node)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise self.error("the number is too large for a float", node, hint="write inf for infinity")
        else:
            raise self.error(f"{_describe(node)} is not allowed in an expression", node)
        return Literal(value, **self.span(node))

    def check_magnitude(self, value: int, node: ast.expr) -> None:
        if abs(value) >= INTEGER_BOUND:
            raise self.error("the number is not below 2**63", node)

    def check_single_string(self, node: ast.Constant) -> None:
        span = self.span(node)
        if not _ONE_STRING.fullmatch(self.text, span["offset"], span["end"]):
            raise self.error("two strings stand side by side", node, hint="a comma is missing between them")

    def name(self, node: ast.Name, depth: int) -> Node:
        return Reference(node.id, **self.span(node))

    def attribute(self, node: ast.Attribute, depth: int) -> Node:
        if not isinstance(node.value, ast.Name):
            raise self.error("only np.inf and torch dtypes have a dot in an expression", node)
        name = f"{node.value.id}.{node.attr}"
        if name not in CONSTANTS:
            hint = suggestion(name, [constant for constant in CONSTANTS if "." in constant])
            raise self.error(f"{name} is not known; attributes are not looked up", node, hint=hint)
        return Reference(name, **self.span(node))

    def call(self, node: ast.Call, depth: int) -> Node:
        if not isinstance(node.func, ast.Name):
            raise self.error("only a bare name can be called", node.func)
        self.check_count(len(node.args) + len(node.keywords), node)
        arguments = tuple(self.convert(argument, depth + 1) for argument in node.args)
        keywords: dict[str, Node] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error("** is not allowed in an expression", keyword.value)
            if keyword.arg in keywords:
                raise self.error(f"the argument {keyword.arg} is given twice", keyword)
            keywords[keyword.arg] = self.convert(keyword.value, depth + 1)
        return Call(node.func.id, arguments, tuple(keywords.items()), **self.span(node))

    def list_node(self, node: ast.List, depth: int) -> Node:
        return ListNode(self.elements(node, node.elts, depth), **self.span(node))

    def tuple_node(self, node: ast.Tuple, depth: int) -> Node:
        return TupleNode(self.elements(node, node.elts, depth), **self.span(node))

    def dict_node(self, node: ast.Dict, depth: int) -> Node:
        self.check_count(len(node.keys), node)
        items = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise self.error("** is not allowed in an expression", value)
            items.append((self.convert(key, depth + 1), self.convert(value, depth + 1)))
        return DictNode(tuple(items), **self.span(node))

    def elements(self, node: ast.expr, elements: Sequence[ast.expr], depth: int) -> tuple[Node, ...]:
        self.check_count(len(elements), node)
        return tuple(self.convert(element, depth + 1) for element in elements)

    def check_count(self, count: int, node: ast.expr) -> None:
        if count > MAX_ELEMENTS:
            raise self.error(f"{count} elements are more than {MAX_ELEMENTS}", node)

    def sign(self, node: ast.UnaryOp, depth: int) -> Node:
        symbol = _SIGNS.get(type(node.op))
        if symbol is None:
            raise self.error(f"{_describe(node)} is not allowed in an expression", node)
        return Sign(symbol, self.convert(node.operand, depth + 1), **self.span(node))

    def operation(self, node: ast.BinOp, depth: int) -> Node:
        """A chain leans to the left and is walked in a loop: a long sum is not deeply nested."""
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        self.operators += len(chain)
        if self.operators > MAX_OPERATORS:
            raise self.error(f"more than {MAX_OPERATORS} operators", node)
        result = self.convert(chain[-1].left, depth + 1)
        for link in reversed(chain):
            operator = _OPERATORS.get(type(link.op))
            if operator is None:
                symbol = _REFUSED_OPERATORS[type(link.op)]
                raise self.error_at(
                    f"the operator {symbol} is not allowed in an expression",
                    self.operator_offset(link, symbol),
                    hint="the operators are + * @",
                )
            right = self.convert(link.right, depth + 1)
            result = Operation(operator, result, right, **self.span(link))
        return result

    def operator_offset(self, node: ast.BinOp, symbol: str) -> int:
        """Where the operator stands: between its operands there are only parentheses, comments and blanks."""
        end_of_left = self.place(node.left)[1]
        return max(self.text.find(symbol, end_of_left), end_of_left)

    def span(self, node: ast.expr) -> dict[str, int]:
        offset, end = self.place(node)
        return {"offset": offset, "end": end}

    def place(self, node: ast.expr | ast.keyword) -> tuple[int, int]:
        """First and last character of a node as indices into the text as given."""
        end_line, end_column = node.end_lineno, node.end_col_offset
        offset = self.index(node.lineno, node.col_offset)
        return offset, offset if end_line is None or end_column is None else self.index(end_line, end_column)

    def index(self, line: int, column_in_bytes: int) -> int:
        characters = column_in_bytes
        if not self.lines[line - 1].isascii():
            before = self.lines[line - 1].encode("utf-8", "surrogatepass")[:column_in_bytes]
            characters = len(before.decode("utf-8", "surrogatepass"))
        return self.start + self.line_starts[line - 1] + characters

    def error(
        self, message: str, node: ast.expr | ast.keyword, *, hint: str | None = None
    ) -> ExpressionError:
        return self.error_at(message, self.place(node)[0], hint=hint)

    def error_at(self, message: str, offset: int, *, hint: str | None = None) -> ExpressionError:
        return ExpressionError(message, self.text, offset, hint=hint)

    def syntax_error(self, error: SyntaxError) -> ExpressionError:
        line = min(max(error.lineno or 1, 1), len(self.line_starts))
        offset = self.start + self.line_starts[line - 1] + max((error.offset or 1) - 1, 0)
        return self.error_at(f"the expression cannot be read: {error.msg}", min(offset, len(self.text)))


def _count_elements(body: str) -> int:
    """How many elements the text has between list brackets."""
    inside = ast.parse(f"[{body}\n]", mode="eval").body
    return len(inside.elts) if isinstance(inside, ast.List) else 0


def _describe(node: ast.expr) -> str:
    """What a refused piece of Python is called."""
    if isinstance(node, ast.Constant):
        names = {bytes: "a bytes literal", complex: "a complex number", type(...): "..."}
        return names.get(type(node.value), "this literal")
    if isinstance(node, ast.UnaryOp):
        return "not" if isinstance(node.op, ast.Not) else "~"
    kinds = {
        ast.Lambda: "a lambda",
        ast.IfExp: "if ... else",
        ast.BoolOp: "and, or",
        ast.Compare: "a comparison",
        ast.Subscript: "a subscript",
        ast.Starred: "*",
        ast.JoinedStr: "an f-string",
        ast.NamedExpr: ":=",
        ast.Set: "a set",
        ast.Await: "await",
        ast.Yield: "yield",
        ast.YieldFrom: "yield",
    }
    return kinds.get(type(node), "a comprehension" if "Comp" in type(node).__name__ else type(node).__name__)
