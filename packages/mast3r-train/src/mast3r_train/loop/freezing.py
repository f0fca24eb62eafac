"""Parts of the network that are not trained (``--freeze``; spec 10 S5.3)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fnmatch import fnmatchcase

from torch import nn

from mast3r_model import ConfigError, nearest_names

LOGGER = logging.getLogger("mast3r.train")

PARTS: dict[str, tuple[str, ...]] = {
    "all": ("*",),
    "mask": ("mask_token",),
    # As upstream's network option freeze='encoder': without enc_norm, which can be named beside it.
    "encoder": ("mask_token", "patch_embed.*", "enc_blocks.*"),
    "decoder": ("decoder_embed.*", "dec_blocks.*", "dec_blocks2.*", "dec_norm.*"),
    "heads": ("downstream_*", "prediction_head.*"),
}
"""Names of parts, and the parameters they stand for as glob patterns."""

_NOT = "not "
_NONE = "none"


def freeze_parameters(model: nn.Module, text: str) -> None:
    """Switch off the gradients of some parameters.

    Args:
        model: the network; parameters that are frozen already stay so, unless they are named after ``not``.
        text: words joined by commas, read from left to right: a name of `PARTS`, the name of a module or
            parameter of the network's first level, or a glob pattern over parameter names. A word after
            ``not`` is trained; if the first word is such a one, everything else is frozen. ``none`` or
            nothing freezes nothing.

    Raises:
        ConfigError: a word matches no parameter, or nothing is left to train.
    """
    words = [word.strip() for word in text.split(",") if word.strip() not in ("", _NONE)]
    if words and words[0].startswith(_NOT):
        words.insert(0, "all")
    parameters = dict(model.named_parameters())
    for word in words:
        trained = word.startswith(_NOT)
        for name in _parameters_of(model, word.removeprefix(_NOT).strip()):
            parameters[name].requires_grad_(trained)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError(f"--freeze {text!r} leaves nothing to train", hint="freeze fewer parts")


def frozen_modules(model: nn.Module) -> tuple[nn.Module, ...]:
    """The largest modules all of whose parameters are frozen; in training they stay in eval mode."""
    return tuple(_frozen_within(model))


def log_trained(model: nn.Module) -> None:
    """Say how many parameters are trained."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    total = sum(count for count, _ in counts)
    trained = sum(count for count, is_trained in counts if is_trained)
    LOGGER.info("training %s of %s parameters (%.2f %%)", f"{trained:,}", f"{total:,}", 100 * trained / total)


def _parameters_of(model: nn.Module, word: str) -> list[str]:
    names = [name for name, _ in model.named_parameters()]
    first_level = list(dict.fromkeys(name.partition(".")[0] for name in names))
    patterns = PARTS.get(word, (word, f"{word}.*") if word in first_level else (word,))
    found = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if found:
        return found
    near = nearest_names(word, [*PARTS, *first_level, *names])
    known = ", ".join([*PARTS, *(name for name in first_level if name not in PARTS)])
    suggestion = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(
        f"--freeze: {word!r} is no part of {type(model).__name__}; known: {known}",
        hint=f"{suggestion}glob patterns over parameter names work too, such as 'enc_blocks.[0-9].*'",
    )


def _frozen_within(module: nn.Module) -> Iterator[nn.Module]:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
    else:
        for child in module.children():
            yield from _frozen_within(child)
