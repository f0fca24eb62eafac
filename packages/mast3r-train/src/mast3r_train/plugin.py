"""What this package registers: datasets, transforms, losses and the command ``mast3r train``."""

from __future__ import annotations

from collections.abc import Mapping

from mast3r_model import CommandSpec, hookimpl
from mast3r_train.datasets.registration import DATASETS, PREPROCESSORS, TRANSFORMS
from mast3r_train.losses.registration import LOSSES


@hookimpl
def mast3r_datasets() -> Mapping[str, str]:
    """Dataset names to classes."""
    return DATASETS


@hookimpl
def mast3r_transforms() -> Mapping[str, str]:
    """Image transform names to callables."""
    return TRANSFORMS


@hookimpl
def mast3r_preprocessors() -> Mapping[str, str]:
    """Names of ``mast3r data prepare`` to commands."""
    return PREPROCESSORS


@hookimpl
def mast3r_losses() -> Mapping[str, str]:
    """Loss names to classes and shared criteria."""
    return LOSSES


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    """The commands of this package."""
    return {
        "train": CommandSpec(
            target="mast3r_train.cli:train_command",
            help="Train a network from expressions or a recipe.",
            section="Train",
        ),
        "pretrain-croco": CommandSpec(
            target="mast3r_train.croco.cli:pretrain_command",
            help="Pretrain a backbone on pairs of photos without labels.",
            section="Train",
        ),
        "data croco-crops": CommandSpec(
            target="mast3r_train.croco.cli:crops_command",
            help="Cut crops out of photos, for pretraining.",
            section="Train",
        ),
        "data croco-pairs": CommandSpec(
            target="mast3r_train.croco.cli:pairs_command",
            help="Render pairs of synthetic views, to try pretraining on.",
            section="Train",
        ),
        "data list": CommandSpec(
            target="mast3r_train.dataset_list_cli:list_command",
            help="Datasets known by name, and where their files are.",
            section="Train",
        ),
        "data check": CommandSpec(
            target="mast3r_train.data_cli:check_command",
            help="Check a dataset, yours or ours, against the view contract.",
            section="Train",
        ),
        "data prepare": CommandSpec(
            target="mast3r_train.data_cli:prepare_group",
            help="From a dataset's public release to the folder that its loader reads.",
            section="Train",
        ),
        "data sky": CommandSpec(
            target="mast3r_train.preparing.sky_cli:sky_command",
            help="Mask the sky of a prepared dataset's photos, with a plugin.",
            section="Train",
        ),
        "data pairs": CommandSpec(
            target="mast3r_train.preparing.pairs_cli:pairs_command",
            help="Find pairs in a prepared dataset whose release has none.",
            section="Train",
        ),
    }
