"""The settings of one pretraining run: every flag of ``mast3r pretrain-croco`` (spec 40 section 11)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mast3r_model import ConfigError
from mast3r_train.config import Amp, TrainConfig

_SHARED = {field.name: field for field in dataclasses.fields(TrainConfig)}


def _own(default: Any, help_text: str, *, section: str, metavar: str | None = None) -> Any:
    """A setting that ``mast3r train`` has not, or not so."""
    metadata = {"help": help_text, "section": section, "metavar": metavar, "rare": False}
    return dataclasses.field(default=default, metadata=metadata)


def _as_train(name: str) -> Any:
    """A setting with the default and the help of ``mast3r train``."""
    return dataclasses.field(default=_SHARED[name].default, metadata=_SHARED[name].metadata)


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of one pretraining run. Names and defaults are upstream's where it has them.

    Raises:
        ConfigError: a value is out of its range.
    """

    dataset: str = _own(
        "habitat_release",
        "pairs: habitat_release, ARKitScenes, MegaDepth, 3DStreetView, IndoorVL (in --data_dir), a folder, "
        "or folder:PATH; joined by +",
        section="Data",
    )
    data_dir: str = _own("./data/", "where named datasets are", section="Data", metavar="DIR")
    transforms: str = _own(
        "crop224+acolor",
        "steps joined by +: crop<size>, acolor, resize<size> (shorter side, for photos)",
        section="Data",
    )
    batch_size: int = _as_train("batch_size")
    num_workers: int = _as_train("num_workers")
    max_skipped: int = _as_train("max_skipped")

    model: str = _own("CroCoNet()", "network to train, as an expression", section="Model")
    device: str = _as_train("device")
    nproc_per_node: str | None = _as_train("nproc_per_node")
    threads: int | None = _as_train("threads")
    disable_cudnn_benchmark: bool = _as_train("disable_cudnn_benchmark")
    world_size: int = _as_train("world_size")
    local_rank: int = _as_train("local_rank")
    dist_url: str = _as_train("dist_url")

    norm_pix_loss: int = _own(
        1, "1: compare with patches of mean 0 and variance 1; 0: as they are", section="Loss"
    )

    epochs: int = _own(800, "length of the cosine of the learning rate", section="Optimisation")
    max_epoch: int = _own(400, "stop after so many epochs", section="Optimisation")
    lr: float | None = _as_train("lr")
    blr: float = _as_train("blr")
    min_lr: float = _as_train("min_lr")
    warmup_epochs: float = _as_train("warmup_epochs")
    weight_decay: float = _as_train("weight_decay")
    accum_iter: int = _as_train("accum_iter")
    clip_grad: float | None = _as_train("clip_grad")
    amp: Amp = _own(  # noqa: RUF009 - it is dataclasses.field, only shorter
        "1", "precision: 0 = fp32, 1 = fp16 (on a GPU, else fp32), bf16", section="Optimisation"
    )
    seed: int = _as_train("seed")

    output_dir: str = _as_train("output_dir")
    save_freq: int = _as_train("save_freq")
    keep_freq: int = _as_train("keep_freq")
    save_minutes: float = _as_train("save_minutes")
    max_minutes: float | None = _as_train("max_minutes")
    print_freq: int = _as_train("print_freq")
    dry_run: bool = _as_train("dry_run")

    def __post_init__(self) -> None:
        if not self.dataset.strip():
            raise ConfigError("--dataset is empty", hint="give habitat_release, or a folder of pairs")
        if self.max_epoch < 1:
            raise ConfigError(f"--max_epoch is {self.max_epoch}; expected at least 1")
        if self.max_epoch > self.epochs:
            raise ConfigError(
                f"--max_epoch {self.max_epoch} is beyond the end of the learning rate's cosine, --epochs "
                f"{self.epochs}",
                hint="make --epochs as large, or --max_epoch smaller",
            )
        if self.norm_pix_loss not in (0, 1):
            raise ConfigError(f"--norm_pix_loss is {self.norm_pix_loss!r}; expected 0 or 1")
        self.loop_settings()  # checks what is shared

    def loop_settings(self) -> TrainConfig:
        """What the training loop reads: the shared settings by their names, without evaluations."""
        shared = {name: getattr(self, name) for name in _SHARED if hasattr(self, name)}
        return TrainConfig(train_dataset=self.dataset, eval_freq=0, **shared)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, as they are stored in checkpoints."""
        return dataclasses.asdict(self)
