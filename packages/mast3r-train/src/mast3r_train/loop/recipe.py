"""A recipe: a TOML file with the settings of a run, or of several stages one after the other (spec 70).

::

    # settings of every stage, by the names of the flags of `mast3r train`
    model = "AsymmetricMASt3R(...)"
    output_dir = "runs/nano"

    [[stage]]
    name = "small"
    train_dataset = "100_000 @ SyntheticScenes(resolution=(160, 128))"
    epochs = 10

    [[stage]]                 # starts from the weights that the stage before ended with
    name = "large"
    train_dataset = "100_000 @ SyntheticScenes(resolution=(320, 240))"
    epochs = 5

Each stage writes to ``<output_dir>/<name>``. A stage that has come to its end is not run again.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast3r_model import ConfigError, InputError
from mast3r_train.config import TrainConfig
from mast3r_train.loop.checkpointing import checkpoint_path
from mast3r_train.loop.epoch import ProgressReport
from mast3r_train.loop.interruption import StopRequest
from mast3r_train.loop.training import TrainingResult, train

LOGGER = logging.getLogger("mast3r.train")


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe.

    Attributes:
        name: what it is called; empty for a recipe without stages.
        config: its settings; ``pretrained`` is the recipe's for the first stage only.
    """

    name: str
    config: TrainConfig


def read_recipe(path: Path) -> dict[str, Any]:
    """The values of a recipe file.

    Raises:
        InputError: the file is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from error


def stages_of(
    values: Mapping[str, Any], overrides: Mapping[str, Any], *, source: str = "the recipe"
) -> list[Stage]:
    """The stages of a recipe with the command line's values over it.

    Args:
        values: a recipe's values; without ``stage`` tables it is a single stage.
        overrides: values of flags that were given, for every stage.

    Raises:
        ConfigError: an unknown name, a wrong value, or two stages of one name.
    """
    common = {key: value for key, value in values.items() if key != "stage"}
    tables = values.get("stage")
    if tables is None:
        return [Stage("", TrainConfig.from_dict(_merge(common, overrides), source=source))]
    if not isinstance(tables, Sequence) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(f"{source}: 'stage' must be a list of tables", hint="write [[stage]]")
    stages: list[Stage] = []
    for number, table in enumerate(tables, 1):
        name = str(table.get("name", f"stage{number}"))
        if not re.fullmatch(r"[\w.-]+", name) or name in {stage.name for stage in stages}:
            raise ConfigError(f"{source}: the stage name {name!r} is no folder name, or is used twice")
        own = {key: value for key, value in table.items() if key != "name"}
        merged = _merge(common, own, overrides)
        config = TrainConfig.from_dict(merged, source=f"{source}, stage {name!r}")
        folder = str(Path(config.output_dir) / name)
        first = not stages
        stages.append(
            Stage(
                name,
                dataclasses.replace(
                    config,
                    output_dir=folder,
                    pretrained=config.pretrained if first or "pretrained" in own else None,
                ),
            )
        )
    return stages


def train_stages(
    stages: Sequence[Stage],
    *,
    stop: StopRequest | None = None,
    on_step: Callable[[ProgressReport], None] | None = None,
) -> TrainingResult:
    """Run the stages one after the other, each from the weights that the one before ended with.

    Args:
        stop: asks for an early stop of the whole; default: after the first stage's ``max_minutes``.
        on_step: called after each micro-step and each test batch.

    Returns:
        How the last stage that was run ended; ``pairs_seen`` and ``hours`` count all stages run by this call.
    """
    stop = stop or StopRequest.after_minutes(stages[0].config.max_minutes)
    weights: Path | None = None
    pairs, hours, completed = 0, 0.0, True
    for stage in stages:
        folder = Path(stage.config.output_dir)
        before, weights = weights, _final_checkpoint(folder)
        if weights is not None and not stage.config.dry_run:
            LOGGER.info("stage %s is done: %s", stage.name or "1", weights)
            continue
        if stage.name:
            LOGGER.info("stage %s", stage.name)
        config = stage.config
        if config.pretrained is None and before is not None:
            config = dataclasses.replace(config, pretrained=str(before))
        result = train(config, stop=stop, on_step=on_step)
        weights, completed = result.checkpoint, result.completed
        pairs, hours = pairs + result.pairs_seen, hours + result.hours
        if not completed and not config.dry_run:
            break
    return TrainingResult(completed, weights, pairs, hours)


def _final_checkpoint(folder: Path) -> Path | None:
    """The weights that a finished stage ended with: the averaged ones if there are such."""
    paths = (checkpoint_path(folder, name) for name in ("final-ema", "final"))
    return next((path for path in paths if path.exists()), None)


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers over earlier ones; a dash in a name is an underscore."""
    return {key.replace("-", "_"): value for layer in layers for key, value in layer.items()}
