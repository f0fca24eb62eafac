"""The settings of one training run: every flag of ``mast3r train`` with its type, default and help line."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mast3r_model import ConfigError, nearest_names

Amp = Literal["0", "1", "bf16"]


def _setting(
    default: Any, help_text: str, *, section: str, metavar: str | None = None, rare: bool = False
) -> Any:
    """One field: its default, its line in the help and the section of the help it stands in."""
    return dataclasses.field(
        default=default,
        metadata={"help": help_text, "section": section, "metavar": metavar, "rare": rare},
    )


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run. Names and defaults are upstream's (spec 40 section 10) where it has them.

    Expressions (``model``, ``train_criterion``, ``train_dataset``, ...) are text of the language of spec 40
    section 1. Epochs and ``print_freq`` count as upstream does: an epoch is one walk over the training set,
    ``print_freq`` counts micro-batches.

    Raises:
        ConfigError: a value is out of its range.
    """

    train_dataset: str = _setting("", 'training set, e.g. "10_000 @ SyntheticScenes(...)"', section="Data")
    test_dataset: str = _setting("[None]", "test sets joined by +; [None] for none", section="Data")
    data_root: tuple[str, ...] = _setting(
        (),
        "folder of a dataset's prepared files, for those without ROOT= in the expression; may be repeated",
        section="Data",
        metavar="NAME=PATH",
    )
    batch_size: int = _setting(64, "pairs in a micro-batch of each process", section="Data")
    num_workers: int = _setting(
        8, "processes that load data; 0 loads in the training process", section="Data"
    )
    max_skipped: int = _setting(
        100,
        "samples of an epoch that may be unreadable and are replaced by others; 0 = none",
        section="Data",
    )
    fixed_test_subset: bool = _setting(
        False,
        "test on the same samples after every epoch (upstream: N @ X changes with the epoch)",
        section="Data",
    )

    model: str = _setting(
        "AsymmetricMASt3R(patch_embed_cls='ManyAR_PatchEmbed')",
        "network to train, as an expression",
        section="Model",
    )
    pretrained: str | None = _setting(
        None,
        "weights to start from: preset, path, URL or hub id; default: random ones",
        section="Model",
        metavar="NAME|PATH|URL",
    )

    train_criterion: str = _setting(
        "ConfLoss(Regr3D(L21, norm_mode='avg_dis'), alpha=0.2)", "training loss", section="Loss"
    )
    test_criterion: str | None = _setting(None, "test loss; default: the training loss", section="Loss")

    epochs: int = _setting(800, "walks over the training set", section="Optimisation")
    lr: float | None = _setting(None, "learning rate at its peak; default: see --blr", section="Optimisation")
    blr: float = _setting(
        1.5e-4,
        "lr = blr * batch_size * accum_iter * processes / 256, if --lr is not given",
        section="Optimisation",
    )
    min_lr: float = _setting(0.0, "learning rate at the end", section="Optimisation")
    warmup_epochs: float = _setting(
        40, "epochs in which the learning rate rises from 0", section="Optimisation"
    )
    weight_decay: float = _setting(0.05, "AdamW's weight decay", section="Optimisation")
    accum_iter: int = _setting(1, "micro-batches per update", section="Optimisation")
    clip_grad: float | None = _setting(
        None, "largest norm of the gradient of an update; default: any", section="Optimisation"
    )
    ema: float | None = _setting(
        None,
        "keep an average of the weights with this decay and evaluate it, e.g. 0.999",
        section="Optimisation",
    )
    amp: Amp = _setting(  # noqa: RUF009 - it is dataclasses.field, only shorter
        "0", "precision of the model: 0 = fp32, 1 = fp16, bf16", section="Optimisation"
    )
    compile: bool = _setting(
        False, "let torch compile the transformer blocks; needs a compiler", section="Optimisation"
    )
    gradient_checkpointing: bool = _setting(
        False,
        "compute the transformer blocks again in the backward pass: less memory, more time",
        section="Fine-tuning",
    )
    freeze: str = _setting(
        "none",
        "parts not to train, joined by commas: encoder, decoder, heads, mask, a module's name or a pattern; "
        "'not heads' = all but the heads",
        section="Fine-tuning",
        metavar="PARTS",
    )
    lora: int | None = _setting(
        None, "train small matrices of this rank beside frozen weights (LoRA)", section="Fine-tuning"
    )
    lora_alpha: float | None = _setting(
        None, "LoRA adds alpha / rank times its matrices; default: the rank", section="Fine-tuning"
    )
    lora_targets: str = _setting(
        "qkv,proj,projq,projk,projv,fc1,fc2",
        "linear layers of the blocks that get LoRA matrices, or patterns over whole names",
        section="Fine-tuning",
        metavar="NAMES",
    )
    lora_train_heads: bool = _setting(False, "train the heads too, with --lora", section="Fine-tuning")
    seed: int = _setting(0, "seed of torch and numpy", section="Optimisation")

    output_dir: str = _setting("./output/", "where checkpoints and logs go", section="Output", metavar="DIR")
    eval_freq: int = _setting(1, "epochs between evaluations; 0 = never", section="Output")
    save_freq: int = _setting(
        1, "epochs between writes of checkpoint-last.pth; 0 = at the end only", section="Output"
    )
    keep_freq: int = _setting(20, "epochs between checkpoints that are kept; 0 = none", section="Output")
    save_minutes: float = _setting(
        0.0, "also write checkpoint-last.pth every so many minutes; 0 = at epochs only", section="Output"
    )
    max_minutes: float | None = _setting(
        None, "stop after so many minutes, with a checkpoint to go on from", section="Output"
    )
    print_freq: int = _setting(20, "micro-batches between log lines", section="Output")
    best_on: str = _setting(
        "any", "what checkpoint-best.pth is chosen by: any, mean, or the name of a test set", section="Output"
    )
    dry_run: bool = _setting(
        False, "build everything, take one batch of each set and one step, write nothing", section="Output"
    )

    device: str = _setting("auto", "auto, cpu, cuda, cuda:N or mps", section="Model and device")
    nproc_per_node: str | None = _setting(
        None,
        "train in so many processes on this machine; auto or gpu: one a GPU",
        section="Model and device",
        metavar="N|auto|gpu",
    )
    fsdp: bool = _setting(
        False,
        "split weights, gradients and optimizer among the processes (FSDP2), for what fits no single GPU",
        section="Model and device",
    )
    threads: int | None = _setting(
        None, "CPU threads of the training process; default: torch's choice", section="Model and device"
    )
    disable_cudnn_benchmark: bool = _setting(
        False, "no search for the fastest convolutions", section="Model and device"
    )
    world_size: int = _setting(
        1, "accepted as upstream does; the environment decides", section="Model and device", rare=True
    )
    local_rank: int = _setting(
        -1, "accepted as upstream does; the environment decides", section="Model and device", rare=True
    )
    dist_url: str = _setting(
        "env://", "accepted as upstream does; the environment decides", section="Model and device", rare=True
    )

    def __post_init__(self) -> None:
        _require(
            bool(self.train_dataset.strip()),
            "train_dataset",
            self.train_dataset,
            "a dataset expression",
            hint="such as '10_000 @ SyntheticScenes(resolution=(160, 128))'; or give a --recipe",
        )
        for name in ("batch_size", "epochs", "accum_iter", "print_freq"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        counts = ("num_workers", "max_skipped", "eval_freq", "save_freq", "keep_freq")
        for name in (*counts, "warmup_epochs", "save_minutes"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("blr", "min_lr", "weight_decay"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "a finite number, 0 or more")
        for name in ("lr", "clip_grad", "max_minutes", "threads", "lora", "lora_alpha"):
            value = getattr(self, name)
            _require(value is None or (math.isfinite(value) and value > 0), name, value, "more than 0")
        if self.lora is None and (self.lora_alpha is not None or self.lora_train_heads):
            raise ConfigError(
                "--lora_alpha and --lora_train_heads need --lora", hint="give a rank, such as --lora 16"
            )
        _require(self.ema is None or 0 < self.ema < 1, "ema", self.ema, "between 0 and 1, such as 0.999")
        if self.fsdp and self.ema is not None:
            raise ConfigError(
                "--fsdp and --ema exclude each other: the average would be a whole copy in every process",
                hint="leave one of them out",
            )
        _require(self.amp in typing.get_args(Amp), "amp", self.amp, "0, 1 or bf16")

    def peak_lr(self, world_size: int = 1) -> float:
        """Learning rate at its peak: ``lr``, or the one that ``blr`` gives (spec 40 section 9.1)."""
        if self.lr is not None:
            return self.lr
        return self.blr * (self.batch_size * self.accum_iter * world_size) / 256

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name, as they are stored in checkpoints and logs."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = "the settings") -> TrainConfig:
        """Make the settings from values by name; dashes in names may stand for underscores.

        Args:
            values: flag names without leading dashes to values; numbers may be given for text flags.
            source: what the values come from, named in errors.

        Raises:
            ConfigError: a name is unknown, or a value has the wrong type or is out of range.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        hints = typing.get_type_hints(cls)
        converted: dict[str, Any] = {}
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in fields:
                near = nearest_names(name, fields)
                raise ConfigError(
                    f"{source}: no setting is called {key!r}",
                    hint=f"did you mean {' or '.join(near)}?" if near else "mast3r train --help lists all",
                )
            converted[name] = _convert(value, hints[name], f"{source}: {name}")
        return cls(**converted)


def base_type(annotation: Any) -> type:
    """The type of a field's values: ``int`` for ``int | None``, ``str`` for a Literal or several texts."""
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
    if typing.get_origin(annotation) in (Literal, tuple):
        return str
    return options[0] if options else annotation


def _convert(value: Any, annotation: Any, place: str) -> Any:
    """Bring a TOML or command line value to the field's type."""
    if value is None:
        return None
    wanted = base_type(annotation)
    if typing.get_origin(annotation) is tuple:
        values = [value] if isinstance(value, str) else list(value)
        return tuple(_convert(item, str, place) for item in values)
    if wanted is bool:
        fits = isinstance(value, bool)
    elif wanted is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif wanted is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, str | int) and not isinstance(value, bool)
    if not fits:
        raise ConfigError(f"{place} is {value!r}; expected a value of type {wanted.__name__}")
    return wanted(value)


def _require(condition: bool, name: str, value: object, expected: str, *, hint: str | None = None) -> None:
    if not condition:
        raise ConfigError(f"--{name} is {value!r}; expected {expected}", hint)
