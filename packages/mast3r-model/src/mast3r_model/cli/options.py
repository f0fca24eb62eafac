"""Options that several commands share, added by one decorator each."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from mast3r_model.errors import OutputError

from .completing import complete_model
from .context import CommandContext
from .parameters import Decorator, Function, option

if TYPE_CHECKING:
    from mast3r_model import AsymmetricCroCo3DStereo, AsymmetricMASt3R, Precision

SECTION = "Model and device"
DEFAULT_MODEL = "nano"
OFFICIAL_MODEL = "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric"


@dataclass(frozen=True)
class ModelOptions:
    """What the user chose under "Model and device".

    Args:
        model: a preset, a hub id, a folder or a file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto", "fp32", "bf16" or "fp16".
        batch_size: images or pairs at once; None leaves it to the command.
        threads: CPU threads of torch; None leaves it to torch.
        seed: of all random choices.
        offline: download nothing.
    """

    model: str = DEFAULT_MODEL
    device: str = "auto"
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    batch_size: int | None = None
    threads: int | None = None
    seed: int = 0
    offline: bool = False

    def precision(self) -> Precision:
        """Device and dtype, resolved.

        Raises:
            DeviceError: the device is not there.
        """
        from mast3r_model.device import resolve_precision

        return resolve_precision(self.device, self.dtype)

    def session(self) -> AbstractContextManager[object]:
        """A block with these threads and this seed; everything is as before afterwards."""
        import torch

        from mast3r_model.device import cpu_threads

        stack = ExitStack()
        stack.enter_context(cpu_threads(self.threads))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(self.seed)
        return stack

    def load(self, context: CommandContext) -> AsymmetricMASt3R | AsymmetricCroCo3DStereo:
        """The model, in eval mode, on its device; says in the end when it was the small checkpoint.

        Raises:
            CheckpointError: the model is unknown, missing or broken.
            DeviceError: the device is not there.
        """
        work_offline(self.offline)
        from mast3r_model import load_model

        self.precision()
        with context.timed("load"):
            model = load_model(self.model, device=self.device, dtype=self.dtype)
        if self.model == DEFAULT_MODEL:
            context.note_at_the_end(
                f"hint: {DEFAULT_MODEL} is the small built-in checkpoint; for best results use "
                f"--model {OFFICIAL_MODEL} (CC BY-NC-SA 4.0, non-commercial)"
            )
        return model


def work_offline(offline: bool) -> None:
    """Let this process download nothing; before the hub's library is imported, which is when it looks."""
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


class Count(click.IntRange):
    """A positive integer, or "auto" (None)."""

    name = "integer|auto"

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)

    def _describe_range(self) -> str:
        return ""


def model_options(function: Function) -> Function:
    """Add ``--model --device --dtype --batch-size --threads --seed --offline``.

    The function gets them as one keyword ``model: ModelOptions``.
    """

    @functools.wraps(function)
    def gathered(*positional: Any, **keywords: Any) -> object:
        names = ("device", "dtype", "batch_size", "threads", "seed", "offline")
        chosen = {name: keywords.pop(name) for name in names}
        model = _one_model(keywords.pop("model"), keywords.pop("weights"), keywords.pop("model_name"))
        return function(*positional, model=ModelOptions(model=model, **chosen), **keywords)

    decorators = [
        option(
            "-m",
            "--model",
            default=DEFAULT_MODEL,
            envvar="MAST3R_MODEL",
            show_envvar=True,
            metavar="NAME|PATH",
            shell_complete=complete_model,
            help="Preset, hub id, folder, .pth or .safetensors.",
            section=SECTION,
        ),
        option("--weights", hidden=True, help="Upstream's name of --model."),
        option("--model-name", hidden=True, help="Upstream's name of --model, without naver/."),
        option(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda[:N]|mps",
            help="Where to compute.",
            section=SECTION,
        ),
        option(
            "--dtype",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            help="Precision of the network; auto: bf16 on CUDA, fp16 on MPS, fp32 on CPU.",
            section=SECTION,
        ),
        option(
            "--batch-size",
            type=Count(),
            show_default="auto",
            metavar="N|auto",
            help="Images at once.",
            section=SECTION,
        ),
        option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.", section=SECTION),
        option("--seed", type=int, default=0, metavar="N", help="Of all random choices.", section=SECTION),
        option("--offline", is_flag=True, help="Download nothing.", section=SECTION),
    ]
    decorated: Callable[..., object] = gathered
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    return cast(Function, decorated)


def output_option(
    *, help: str, default: Path | None = None, required: bool = False, metavar: str = "PATH"
) -> Decorator:
    """Add ``-o/--output`` and ``--overwrite``: keywords ``output: Path | None`` and ``overwrite: bool``."""

    # To click, a default of None is one too: with it nothing would be required.
    given: dict[str, Any] = {} if default is None else {"default": default}

    def decorate(function: Function) -> Function:
        overwrite = option("--overwrite", is_flag=True, help="Replace what is there.", section="Output")
        output = option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            required=required,
            metavar=metavar,
            help=help,
            section="Output",
            **given,
        )
        return output(overwrite(function))

    return decorate


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Stop before work that would replace a file or a folder with something in it.

    Raises:
        OutputError: it exists and ``overwrite`` is false.
    """
    occupied = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if occupied and not overwrite:
        raise OutputError(f"{path} exists already", "choose another name, or give --overwrite")


def _one_model(model: str, weights: str | None, model_name: str | None) -> str:
    if weights and model_name:
        raise click.UsageError("--weights and --model-name both name the model: give one of them")
    if model_name:
        return model_name if "/" in model_name or Path(model_name).exists() else f"naver/{model_name}"
    return weights or model
