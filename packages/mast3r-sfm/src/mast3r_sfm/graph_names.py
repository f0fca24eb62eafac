"""How scene graphs are written on a command line: in the help and for the shell."""

from __future__ import annotations

from mast3r_model.cli import complete_names

_WITH_NUMBERS = {
    "swin": ("swin-3", "swin-3-noncyclic"),
    "logwin": ("logwin-3", "logwin-3-noncyclic"),
    "oneref": ("oneref-0",),
    "retrieval": ("retrieval-20-10",),
}
"""Graphs whose names carry numbers, with usual ones."""

complete_graph = complete_names("pair_graphs", written=lambda name: _WITH_NUMBERS.get(name, (name,)))
"""Names of graphs, for the shell."""

complete_retriever = complete_names("retrievers", files=True)
"""Names of retrievers, or a checkpoint's file."""
