"""An expression: its text and its tree, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mast3r_model.errors import ExpressionError

from .builder import Builder
from .parser import parse_text
from .render import to_text
from .tree import Call, Node, Operation


@dataclass(frozen=True)
class Expression:
    """A text that was read, not yet built.

    Two expressions are equal if their trees are, however they were spaced.

    Args:
        text: the text as given.
        root: its tree; ``root.offset`` and ``root.end`` are indices into ``text``.
    """

    text: str = field(compare=False)
    root: Node

    def build(self, kinds: Sequence[str], names: Mapping[str, object] | None = None) -> object:
        """Construct what the expression says.

        A name is looked up in ``names``, then in the registry of each kind. A name with a call constructs; a
        class or an object named without a call is passed as it is. ``number * object``, ``object * number``,
        ``number @ object`` and ``object + object`` are Python's operators on the built objects.

        Args:
            kinds: plugin kinds, such as ``["datasets", "transforms"]``.
            names: further names and what they stand for.

        Raises:
            ExpressionError: a name is unknown, arguments do not fit, or an operator does not combine its
                operands; the offset is the place.
            PluginError: a registered name cannot be imported.
        """
        return Builder(self.text, kinds, names or {}).build(self.root)

    def call(self) -> tuple[str, dict[str, object]]:
        """Name and keywords of an expression that is one call with literal arguments: a model's.

        Returns:
            For example ``("AsymmetricMASt3R", {"pos_embed": "RoPE100", "depth_mode": ("exp", -inf, inf)})``.

        Raises:
            ExpressionError: it is no call, has positional arguments, or an argument is no literal.
        """
        if not isinstance(self.root, Call):
            raise self._error("expected one call, such as AsymmetricMASt3R(pos_embed='RoPE100')", self.root)
        if self.root.arguments:
            raise self._error(f"{self.root.name} takes keywords only, name=value", self.root.arguments[0])
        # Spec 10 section 9.5: model strings may spell infinity as float('inf').
        literals = Builder(self.text, (), {"float": float})
        return self.root.name, {name: literals.build(value) for name, value in self.root.keywords}

    def terms(self) -> list[Term]:
        """The operands of the top-level ``+``, in order; the expression itself if there is none.

        Returns:
            At least one term; names are made distinct by ``#2``, ``#3`` (spec 40 section 1.5).
        """
        nodes, rest = [], self.root
        while isinstance(rest, Operation) and rest.operator == "+":
            nodes.append(rest.right)
            rest = rest.left
        terms: list[Term] = []
        seen: dict[str, int] = {}
        for node in [rest, *reversed(nodes)]:
            text = self.text[node.offset : node.end]
            name = text.partition("(")[0].strip() or text
            seen[name] = seen.get(name, 0) + 1
            unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
            terms.append(Term(unique, text, Expression(self.text, node)))
        return terms

    def to_text(self) -> str:
        """The expression in its plainest spelling; it parses to an equal expression."""
        return to_text(self.root)

    def _error(self, message: str, node: Node) -> ExpressionError:
        return ExpressionError(message, self.text, node.offset)


@dataclass(frozen=True)
class Term:
    """One operand of a sum.

    Args:
        name: its text up to the first parenthesis, with ``#2``, ``#3`` for repeated ones:
            ``1_000 @ BlendedMVS``.
        text: its source text.
        expression: the operand as an expression.
    """

    name: str
    text: str
    expression: Expression


def parse_expression(text: str) -> Expression:
    """Read an expression; nothing is looked up, imported or executed.

    Args:
        text: at most 64 KiB, such as ``"1000 @ Co3d(split='train') + 0.5 * Other([1, 2])"``; white space
            around it does not matter.

    Raises:
        ExpressionError: the text is no expression; its string shows the place with a caret.
    """
    return Expression(text, parse_text(text))
