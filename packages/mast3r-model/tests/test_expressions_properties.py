"""Properties of the expression parser: it round trips, never executes, never hangs."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

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
from mast3r_model.expressions.render import to_text

names = st.sampled_from(["A", "B", "Größe", "inf", "nan", "np.inf", "torch.float16"])
bare_names = st.sampled_from(["A", "B", "x1", "_y"])
literals = st.one_of(
    st.integers(0, 2**63 - 1),
    st.floats(0, allow_nan=False, allow_infinity=False).map(abs),
    st.text(),
    st.booleans(),
    st.none(),
).map(Literal)


def grown(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    few = st.lists(children, max_size=3).map(tuple)
    keywords = st.dictionaries(bare_names, children, max_size=2).map(lambda found: tuple(found.items()))
    return st.one_of(
        few.map(ListNode),
        few.map(TupleNode),
        st.lists(st.tuples(children, children), max_size=2).map(lambda items: DictNode(tuple(items))),
        st.builds(Call, bare_names, few, keywords),
        st.builds(Sign, st.sampled_from("+-"), children),
        st.builds(Operation, st.sampled_from("+*@"), children, children),
    )


trees = st.recursive(st.one_of(literals, names.map(Reference)), grown, max_leaves=12)


@settings(max_examples=80, deadline=None)
@given(trees)
def test_every_tree_survives_its_text(tree: Node) -> None:
    text = to_text(tree)
    expression = parse_expression(f" {text}\n")
    assert expression.root == tree
    assert expression.text[expression.root.offset : expression.root.end] in text
    assert expression.to_text() == text


FRAGMENTS = r"""A( ) [ ] { } ' " , = + * @ - 1 1.5 x . : ** lambda for in if else not f' b' \ # é inf None"""
fragments = st.sampled_from([*FRAGMENTS.split(), " ", "\n", "__import__"])


@settings(max_examples=150, deadline=2000)
@given(st.one_of(st.lists(fragments, max_size=30).map("".join), st.text(max_size=60)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = parse_expression(text)
    except ExpressionError:
        pass
    else:
        assert parse_expression(expression.to_text()) == expression
        with contextlib.suppress(ExpressionError):
            expression.build([])


@settings(max_examples=50, deadline=None)
@given(trees)
def test_building_never_runs_a_name_it_was_not_given(tree: Node) -> None:
    called: list[object] = []
    expression = parse_expression(to_text(tree))
    with contextlib.suppress(ExpressionError):
        expression.build([], {"A": lambda *values, **named: called.append(values)})
    if called:
        assert "A(" in expression.text
