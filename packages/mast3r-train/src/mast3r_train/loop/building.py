"""From the texts on the command line to datasets, models and losses (spec 40 section 1)."""

from __future__ import annotations

import logging
from typing import Any, cast

from torch import nn

from mast3r_model import ConfigError, Expression, ModelConfig, parse_expression
from mast3r_train.loop.learner import Criterion

LOGGER = logging.getLogger("mast3r.train")

NO_TEST_SET = "[None]"


def build_dataset(text: str) -> Any:
    """Build a dataset expression such as ``1000 @ SyntheticScenes(resolution=(160, 128))``."""
    return _checked_dataset(parse_expression(text), text)


def build_test_sets(text: str) -> dict[str, Any]:
    """Build each term of a sum of datasets, by name (spec 40 section 1.5).

    The name is the term's text up to its first ``(``; equal names get ``#2``, ``#3``.
    """
    if text.replace(" ", "") in ("", NO_TEST_SET, "None"):
        return {}
    return {
        term.name: _checked_dataset(term.expression, term.text) for term in parse_expression(text).terms()
    }


def build_criterion(text: str) -> Criterion:
    """Build a loss expression."""
    loss = parse_expression(text).build(("losses",))
    # L21 and InfoNCE() are callable too, but on points and on descriptors.
    if isinstance(loss, type) or not hasattr(loss, "compute_loss"):
        raise ConfigError(
            f"{text.strip()!r} is no loss", hint="expected e.g. ConfLoss(Regr3D(L21), alpha=0.2)"
        )
    return cast(Criterion, loss)


def build_model(text: str, *, pretrained: str | None = None) -> nn.Module:
    """Build a model expression, with the weights of a checkpoint where it has them."""
    model = ModelConfig.from_expression(text).build()
    if pretrained is not None:
        from mast3r_model import load_pretrained_into

        report = load_pretrained_into(model, pretrained)
        LOGGER.info("starting from the weights of %s", pretrained)
        for what in ("missing", "unexpected", "cloned"):
            if names := getattr(report, what):
                LOGGER.info("%s: %s", what, ", ".join(names))
    return model


def _checked_dataset(expression: Expression, text: str) -> Any:
    dataset = expression.build(("datasets", "transforms"))
    if isinstance(dataset, type) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise ConfigError(
            f"{text.strip()!r} is no dataset",
            hint="expected e.g. 10_000 @ SyntheticScenes(resolution=(160, 128))",
        )
    return dataset
