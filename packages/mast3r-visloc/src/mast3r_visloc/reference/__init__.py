"""Upstream's pipeline to the number, for ``--parity`` (spec 50 A)."""
