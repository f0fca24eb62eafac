"""CroCo's pretraining network from its checkpoints (spec 10 S4.12)."""

from __future__ import annotations

import os

from croco_backbone import CroCoNet
from mast3r_model.checkpoints.loading import copy_weights
from mast3r_model.checkpoints.locations import local_path
from mast3r_model.checkpoints.naming import match_keys
from mast3r_model.checkpoints.reader import CROCO, read_checkpoint
from mast3r_model.errors import CheckpointError


def load_croco(name_or_path: str | os.PathLike[str]) -> CroCoNet:
    """Load CroCo's pretraining network, of any of its three layouts.

    Returns:
        The network on the CPU, in eval mode (it masks all the same, see `CroCoNet`).

    Raises:
        CheckpointError: another network, or keys that do not fit.
    """
    stored = read_checkpoint(local_path(name_or_path))
    if stored.architecture != CROCO:
        raise CheckpointError(
            f"{stored.path} holds {stored.architecture or 'an unnamed network'}, not {CROCO}",
            hint="load_model() loads MASt3R and DUSt3R",
        )
    try:
        model = CroCoNet(**stored.keywords)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{stored.path}: cannot build its network: {error}") from error
    match = match_keys(model, stored.tensors, purpose="use", path=stored.path)
    copy_weights(model, stored, match)
    return model.eval()
