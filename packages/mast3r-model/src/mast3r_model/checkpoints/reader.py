"""Reading checkpoint files, memory-mapped, without running anything in them (spec 10 S9.1 to S9.5)."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mast3r_model.checkpoints.locations import CONFIG_NAME, PICKLE_NAME, SAFETENSORS_NAME
from mast3r_model.config import ModelConfig
from mast3r_model.errors import CheckpointError, ConfigError, ExpressionError, UnsafeCheckpointError
from mast3r_model.expressions import parse_expression

CROCO = "CroCoNet"
"""The pretraining network's name in model strings."""

_HARMLESS = re.compile(
    r"collections\.OrderedDict|argparse\.Namespace|torch\.\w+Storage|torch\._utils\._rebuild_tensor(_v2)?"
)
"""What pickles of plain state dicts import."""

_Global = type[Any] | Callable[..., Any]


@dataclass(frozen=True, eq=False)
class StoredModel:
    """What a checkpoint file holds, as it is stored.

    Attributes:
        path: the file of the weights.
        tensors: state dict, memory-mapped.
        architecture: class name, "CroCoNet" for CroCo's pretraining network, None if the file does not say.
        keywords: the constructor's keywords.
        training: what else the file holds, such as "epoch", "best_so_far", "optimizer", "scaler", "args".
    """

    path: Path
    tensors: Mapping[str, Tensor]
    architecture: str | None
    keywords: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> ModelConfig:
        """The configuration of a stereo network.

        Raises:
            CheckpointError: the file holds no stereo network, or one that cannot be built.
        """
        if self.architecture is None:
            raise CheckpointError(
                f"{self.path} holds weights but does not say of which network",
                hint=f"put its {CONFIG_NAME} beside it and give the folder",
            )
        if self.architecture == CROCO:
            raise CheckpointError(
                f"{self.path} holds CroCo's pretraining network, without points and descriptors",
                hint="it can initialise another network: load_pretrained_into(), or "
                "mast3r train --pretrained",
            )
        try:
            return ModelConfig.from_keywords(self.architecture, self.keywords)
        except ConfigError as error:
            raise CheckpointError(f"{self.path}: {error}", hint=error.hint) from error

    @contextmanager
    def unmapped(self) -> Iterator[Callable[[str], Tensor]]:
        """A function that reads a tensor by name into memory of its own (from a .pth file: still maps it).

        For tensors that are only needed to make others of them: every page of a mapped tensor that was read
        counts as this process's memory as long as any tensor of the file is in use.
        """
        if not _is_safetensors(self.path):
            yield self.tensors.__getitem__
            return
        with safe_open(self.path, framework="pt", backend="pread") as file:
            yield file.get_tensor


def read_checkpoint(path: str | os.PathLike[str]) -> StoredModel:
    """Read a ``.pth`` file, a ``.safetensors`` file, or a folder with config.json and weights.

    Raises:
        CheckpointError: missing, damaged, or of no known layout.
        UnsafeCheckpointError: a pickle that asks for more than tensors and plain values.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"no such checkpoint: {path}", hint="check the path")
    if path.stat().st_size == 0:
        raise CheckpointError(f"the checkpoint is empty: {path}", hint="copy or download it again")
    if _is_safetensors(path):
        return _read_weights_beside_config(path, _read_safetensors(path))
    content = read_pth(path)
    if "model" in content and isinstance(content["model"], Mapping):
        return _from_training_layout(path, content)
    return _read_weights_beside_config(path, content)


def read_pth(
    path: str | os.PathLike[str], *, mmap: bool = True, trusted_globals: Sequence[_Global] = ()
) -> dict[str, Any]:
    """Read a file of ``torch.save`` that holds tensors, plain values and `argparse.Namespace`, nothing else.

    Args:
        path: the file.
        mmap: map the tensors from the file instead of reading them; changes to them never reach the file.
        trusted_globals: further classes or functions that the file may use. Whoever adds one vouches for it.

    Raises:
        UnsafeCheckpointError: the file asks for other classes or functions; lists them. Nothing was run.
        CheckpointError: missing, damaged, or not a dictionary.
    """
    path = Path(path)
    with torch.serialization.safe_globals([argparse.Namespace, *trusted_globals]), warnings.catch_warnings():
        # About pickle protocols that torch did not write: whether the file can be read is said below.
        warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
        try:
            content = torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                # Files from before PyTorch 1.6 are no archives and cannot be mapped.
                mmap=mmap and zipfile.is_zipfile(path),
            )
        except pickle.UnpicklingError as error:
            _refuse(path, error)
        except FileNotFoundError:
            raise CheckpointError(f"no such checkpoint: {path}", hint="check the path") from None
        except PermissionError:
            raise CheckpointError(f"no permission to read {path}") from None
        except MemoryError:
            raise
        # A cut archive, a cut pickle, or bytes that are neither: the unpickler stumbles in ever other ways.
        except Exception as error:
            raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary of tensors")
    return content


def _refuse(path: Path, error: pickle.UnpicklingError) -> NoReturn:
    unsafe = _unsafe_globals(path)
    if unsafe:
        raise UnsafeCheckpointError(
            f"refused to load {path}: its pickle wants to use {', '.join(unsafe)}, which could run any code",
            hint="get the checkpoint as .safetensors, or from a source that you trust",
        ) from None
    # The first lines of torch's message are advice to switch the protection off.
    reason = re.search(r"WeightsUnpickler error: (.+)", str(error))
    raise _damaged(path, ValueError(reason[1] if reason else "not written by torch.save")) from None


def _unsafe_globals(path: Path) -> list[str]:
    """Names that a pickle would import beyond the allowed ones, found without running it."""
    if not zipfile.is_zipfile(path):
        return sorted(name for name in _globals_of_pickles(path) if not _HARMLESS.fullmatch(name))
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return []


def _globals_of_pickles(path: Path) -> set[str]:
    """Names that the pickles at a file's start would import; PyTorch before 1.6 wrote several in a row."""
    names: set[str] = set()
    with open(path, "rb") as file:
        while True:
            texts: list[str] = []
            try:
                for opcode, argument, _ in pickletools.genops(file):
                    if opcode.name == "GLOBAL":
                        names.add(str(argument).replace(" ", "."))
                    elif opcode.name == "STACK_GLOBAL":
                        names.add(".".join(texts[-2:]))
                    elif isinstance(argument, str):
                        texts.append(argument)
            except Exception:  # the end, or raw tensor data, or no pickle at all: what was seen counts
                return names


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return CheckpointError(
        f"{path} is no checkpoint, or a damaged or truncated one ({reason[:120]})",
        hint="copy or download it again",
    )


def _is_safetensors(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_folder(folder: Path) -> StoredModel:
    for name in (SAFETENSORS_NAME, PICKLE_NAME):
        if (folder / name).is_file():
            if not (folder / CONFIG_NAME).is_file():
                raise CheckpointError(f"the folder {folder} holds {name} but no {CONFIG_NAME}")
            return read_checkpoint(folder / name)
    raise CheckpointError(
        f"the folder {folder} holds no checkpoint: neither {SAFETENSORS_NAME} nor {PICKLE_NAME}",
        hint="give the .pth file itself if there is one",
    )


def _read_weights_beside_config(path: Path, content: Mapping[str, Any]) -> StoredModel:
    """Bare weights; which network they are of says the config.json in the same folder, if there is one."""
    tensors = _only_tensors(path, content)
    config_path = path.parent / CONFIG_NAME
    if not config_path.is_file():
        return StoredModel(path, tensors, None, {})
    try:
        values = json.loads(config_path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ConfigError(f"expected an object, got {type(values).__name__}")
        config = ModelConfig.from_dict(values)
    except (ValueError, ConfigError) as error:
        hint = error.hint if isinstance(error, ConfigError) else None
        raise CheckpointError(f"{config_path}: {error}", hint=hint) from error
    return StoredModel(path, tensors, config.architecture, config.keywords())


def _from_training_layout(path: Path, content: Mapping[str, Any]) -> StoredModel:
    """A dictionary with the state dict under "model" (spec 10 S9.1, S4.12)."""
    tensors = _only_tensors(path, content["model"])
    training = {key: value for key, value in content.items() if key != "model"}
    if "dune_backbone_name" in content:
        raise CheckpointError(f"{path} is of the DUNE variant, whose encoder is not supported")
    if isinstance(content.get("croco_kwargs"), Mapping):
        return StoredModel(path, tensors, CROCO, dict(content["croco_kwargs"]), training)
    arguments = content.get("args")
    text = arguments.get("model") if isinstance(arguments, Mapping) else getattr(arguments, "model", None)
    if isinstance(text, str):
        try:
            architecture, keywords = parse_expression(text.strip()).call()
        except ExpressionError as error:
            raise CheckpointError(
                f"{path}: cannot read its model string: {error.message}", hint=error.hint
            ) from error
        return StoredModel(path, tensors, architecture, keywords, training)
    # CroCo's first release says nothing about itself: its network has all options at default.
    is_croco = "prediction_head.weight" in tensors and "enc_pos_embed" in tensors
    return StoredModel(path, tensors, CROCO if is_croco else None, {}, training)


def _only_tensors(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    foreign = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign or not content:
        what = f"holds {', '.join(map(repr, foreign[:5]))}" if foreign else "holds nothing"
        raise CheckpointError(f"{path} is no state dict: it {what}", hint="expected only tensors by name")
    return dict(content)
