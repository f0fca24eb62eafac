"""What mast3r-match registers, through the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import CommandSpec, hookimpl


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    return {
        "match": CommandSpec("mast3r_match.cli:match", "Match two photos, or many pairs.", "Match"),
        "evaluate pairs": CommandSpec(
            "mast3r_match.cli:evaluate_pairs", "Measure matches and poses on pairs of known pose.", "Evaluate"
        ),
    }


@hookimpl
def mast3r_retrievers() -> Mapping[str, str]:
    return {
        "encoder": "mast3r_match.retrieval:EncoderRetriever",
        "mast3r": "mast3r_match.retrieval:AsmkRetriever",
    }
