"""Upstream's two published training commands, word for word but for the program they start.

The texts are those of its documentation, as recorded in expr/parse_cases.json; the numbers are spec 40's.
"""

from __future__ import annotations

import json
from pathlib import Path

CASES = json.loads(
    (Path(__file__).parents[2] / "mast3r-model/tests/goldens/train/expr/parse_cases.json").read_text()
)["accept"]


def _expression(kind: str, holds: str, *, lacks: str = "\0") -> str:
    found = [
        case["expr"]
        for case in CASES
        if case["kind"] == kind and holds in case["expr"] and lacks not in case["expr"]
    ]
    assert len(found) == 1, (kind, holds, len(found))
    return str(found[0])


DEMO = [
    *("--train_dataset", _expression("train_dataset", "co3d_subset_processed")),
    *("--test_dataset", _expression("test_dataset", "co3d_subset_processed")),
    *("--model", _expression("model", "two_confs=True)", lacks="landscape_only")),
    *("--train_criterion", _expression("train_criterion", "?avg_dis", lacks="loss_in_log")),
    *("--test_criterion", _expression("test_criterion", "Regr3D_ScaleShiftInv(L21, norm_mode")),
    *("--pretrained", "checkpoints/DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth"),
    *("--lr", "0.0001", "--min_lr", "1e-06", "--warmup_epochs", "1", "--epochs", "10"),
    *("--batch_size", "4", "--accum_iter", "4"),
    *("--save_freq", "1", "--keep_freq", "5", "--eval_freq", "1", "--disable_cudnn_benchmark"),
    *("--output_dir", "checkpoints/mast3r_demo"),
]
"""On four GPUs, with a part of Co3d."""

FULL = [
    *("--train_dataset", _expression("train_dataset", "InternalUnreleasedDataset")),
    *("--test_dataset", _expression("test_dataset", "Habitat512")),
    *("--model", _expression("model", "desc_conf_mode")),
    *("--train_criterion", _expression("train_criterion", "loss_in_log=False")),
    *("--test_criterion", _expression("test_criterion", "Regr3D(L21, norm_mode='?avg_dis', gt_scale=True")),
    *("--pretrained", "checkpoints/DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth"),
    *("--lr", "0.0001", "--min_lr", "1e-06", "--warmup_epochs", "8", "--epochs", "50"),
    *("--batch_size", "4", "--accum_iter", "2"),
    *("--save_freq", "1", "--keep_freq", "5", "--eval_freq", "1", "--print_freq", "10"),
    *(
        "--disable_cudnn_benchmark",
        "--output_dir",
        "checkpoints/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
    ),
]
"""On eight GPUs, with fourteen datasets, of which one was never public."""

DUST3R = {
    "--train_dataset": _expression("train_dataset", "aug_crop=16"),
    "--train_criterion": _expression("train_criterion", "norm_mode='avg_dis'"),
    "--test_criterion": _expression("test_criterion", "Regr3D_ScaleShiftInv(L21, gt_scale=True)"),
}
"""Of DUSt3R's first stage, the begin of its training set and its losses."""

UNRELEASED = " + 34_200 @ InternalUnreleasedDataset("


def options(command: list[str]) -> dict[str, str]:
    """The command's options by name; flags are empty."""
    found: dict[str, str] = {}
    words = iter(command)
    for word in words:
        found[word] = "" if word == "--disable_cudnn_benchmark" else next(words)
    return found


def without_unreleased(expression: str) -> str:
    """The training set without its last term, which nobody outside has."""
    return expression[: expression.index(UNRELEASED)]
