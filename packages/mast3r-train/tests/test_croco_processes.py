"""``mast3r pretrain-croco`` in two processes, as torchrun and ``--nproc-per-node`` start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mast3r_model.cli import run
from mast3r_train.croco import PretrainConfig
from mast3r_train.croco.cli import pretrain_command
from mast3r_train.loop.checkpointing import checkpoint_path, read_checkpoint

MODEL = (
    "CroCoNet(img_size=32, patch_size=8, mask_ratio=0.75, enc_embed_dim=32, enc_depth=1, enc_num_heads=2, "
    "dec_embed_dim=32, dec_depth=1, dec_num_heads=2, pos_embed='RoPE100')"
)
MODULE = ("-m", "mast3r_train.croco")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *MODULE)
OURS = (sys.executable, *MODULE, "--nproc-per-node=2")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs of pictures of noise."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for pair in range(8):
        for view in (1, 2):
            pixels = rng.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{pair}_{view}.png")
    return folder


def pretraining(command: tuple[str, ...], *words: str, **flags: Any) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    given = [f"--{name}={value}" for name, value in flags.items()]
    return subprocess.run(
        [*command, *given, *words],
        capture_output=True, text=True, timeout=600, check=False, env={**environment, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def settings(pairs: Path, folder: Path) -> dict[str, Any]:
    return {
        "dataset": f"folder:{pairs}", "transforms": "crop32+acolor", "model": MODEL, "batch_size": 2,
        "num_workers": 0, "epochs": 4, "max_epoch": 2, "warmup_epochs": 0, "device": "cpu", "print_freq": 1,
        "output_dir": folder,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("command", [TORCHRUN, OURS], ids=["torchrun", "nproc-per-node"])
def test_two_processes_share_the_pairs_and_one_speaks(
    command: tuple[str, ...], pairs: Path, tmp_path: Path
) -> None:
    flags = settings(pairs, tmp_path)
    ended = pretraining(command, **flags)
    assert ended.returncode == 0, ended.stderr
    (said,) = ended.stdout.splitlines()
    assert said.startswith("done, 16 pairs")
    assert ended.stderr.count("epoch 1 step 2/2") == 1  # of eight pairs, two processes and batches of two
    assert ended.stderr.count("next: mast3r train --pretrained") == 1
    content = read_checkpoint(checkpoint_path(tmp_path, "1"))
    assert len(content["ranks"]) == 2
    first_lr = PretrainConfig(batch_size=2).loop_settings().peak_lr(world_size=2)
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert steps[0]["lr"] == pytest.approx(first_lr)
    again = pretraining(command, "--json", **flags)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["result"]["pairs_seen"] == 16  # finished before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--max_epoch=9", "--max_epoch 9 is beyond the end"),  # before the processes meet
        ("--dataset=habitat_relaese", "'habitat_relaese' is neither a known name nor a folder"),
    ],
)
def test_errors_of_all_are_told_once(word: str, message: str, pairs: Path, tmp_path: Path) -> None:
    ended = pretraining(TORCHRUN, word, **settings(pairs, tmp_path))
    assert ended.returncode == 1
    told = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(told) == 1, ended.stderr
    assert message in told[0]


def test_a_wrong_number_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pretrain_command, ["--nproc-per-node", "none"]) == 1
    assert "--nproc-per-node is 'none'; expected a number from 1, auto or gpu" in capsys.readouterr().err
