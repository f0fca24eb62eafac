"""How much memory does fine-tuning take? An ESTIMATE: tensors are counted, nothing is computed.

Two whole training steps (forward, loss, backward, AdamW) of the official size are run with fake tensors,
which have sizes but no content. The peak of the bytes that are alive at the same time is what PyTorch would
have to allocate at least. Not in it: the CUDA context and libraries (0.5 to 1 GiB), scratch space of kernels,
gaps between allocations. The loss is run for real once, on random points, because its sizes depend on its
data.

    python benchmarks/finetuning_memory.py
    MALLOC_MMAP_THRESHOLD_=65536 python benchmarks/finetuning_memory.py --check

The second command runs forward and backward for real on the CPU. The variable lets glibc give freed memory
back at once; without it the gaps in its heap double the process's part.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from measure import machine_line, peak_memory_mib, reset_peak_memory, say
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mast3r_model import EncodedBatch, ModelConfig, parse_expression
from mast3r_train import TrainConfig
from mast3r_train.loop.finetuning import prepare_model
from mast3r_train.loop.optimizer import parameter_groups

MODEL = (
    "AsymmetricMASt3R(pos_embed='RoPE100', img_size=(512, 512), head_type='catmlp+dpt', "
    "output_mode='pts3d+desc24', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, "
    "two_confs=True, desc_conf_mode=('exp', 0, inf))"
)
CRITERION = (
    "ConfLoss(Regr3D(L21, norm_mode='?avg_dis'), alpha=0.2) + 0.075*ConfMatchingLoss(MatchingLoss("
    "InfoNCE(mode='proper', temperature=0.05), negatives_padding=0, blocksize=8192), alpha=10.0, "
    "confmode='mean')"
)
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One way to fine-tune.

    Attributes:
        name: its row of the table.
        width: of the images; the height is ``height``.
        pairs: pairs in a micro-batch, each seen in both orders.
        options: settings of ``mast3r train``.
        half: whether the blocks compute in bf16.
    """

    name: str
    width: int = 512
    height: int = 384
    pairs: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    half: bool = True


SAVING = {"gradient_checkpointing": True}
LORA = {**SAVING, "lora": 16}
LORA_HEADS = {**LORA, "lora_train_heads": True}
CASES = (
    Case("everything, fp32", half=False),
    Case("everything, bf16"),
    Case("everything, bf16, checkpointing", options=SAVING),
    Case("encoder frozen, bf16", options={"freeze": "encoder"}),
    Case("encoder frozen, bf16, checkpointing", options={"freeze": "encoder", **SAVING}),
    Case("encoder and decoder frozen, bf16", options={"freeze": "encoder,decoder"}),
    Case("LoRA 16, bf16", options={"lora": 16}),
    Case("LoRA 16, bf16, checkpointing", options=LORA),
    Case("LoRA 16, bf16, checkpointing", pairs=2, options=LORA),
    Case("LoRA 16, bf16, checkpointing", pairs=4, options=LORA),
    Case("LoRA 16 and heads, bf16, checkpointing", options=LORA_HEADS),
    Case("LoRA 16 and heads, bf16, checkpointing", pairs=2, options=LORA_HEADS),
    Case("LoRA 16 and heads, bf16, checkpointing", height=288, pairs=4, options=LORA_HEADS),
)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, storage.nbytes())

    def _drop(self, count: int) -> None:
        self.live -= count

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return result


@dataclass(frozen=True)
class Estimate:
    """Bytes.

    Attributes:
        trained: trained parameters, a number.
        weights: of all parameters.
        steady: weights and the optimizer's state, between two steps.
        kept: what is alive after the forward pass.
        peak: the most at any time.
    """

    trained: int
    weights: int
    steady: int
    kept: int
    peak: int


def estimate(case: Case, loss_bytes: int, *, optimizer_steps: bool = True) -> Estimate:
    """Two steps with fake tensors; the second one counts."""
    config = TrainConfig(train_dataset="none", **case.options)
    with torch.device("meta"):
        model = ModelConfig.from_expression(MODEL).build()
        prepare_model(model, config, torch.device("cpu"))
    with FakeTensorMode(), LiveBytes() as bytes_:
        _renew_parameters(model)
        for parameter in model.parameters():
            bytes_.add(parameter)
        optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-4, foreach=False)
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        images = torch.empty(2 * case.pairs, 3, case.height, case.width)
        for _ in range(2):
            steady = bytes_.live
            bytes_.peak = bytes_.live
            outputs = forward(model, images, half=case.half)
            kept = bytes_.live
            # The loss comes and goes between the passes; here a sum stands for it.
            with_loss = kept + loss_bytes
            torch.stack([value.sum() for value in outputs]).sum().backward()
            del outputs
            if optimizer_steps:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return Estimate(trained, weights, steady, kept, max(bytes_.peak, with_loss))


def forward(model: Any, images: Tensor, *, half: bool) -> list[Tensor]:
    """The forward pass of training on pairs in both orders: each image is encoded once."""
    shape = (images.shape[-2], images.shape[-1])
    precision = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with precision:
        tokens, positions = model.encode_image(images)
        true_shape = torch.zeros(len(images), 2, dtype=torch.int64)
        both = EncodedBatch(tokens, positions, None, shape, true_shape)
        count = len(images) // 2
        first, second = both.rows(slice(None, count)), both.rows(slice(count, None))
        outputs = model.decode(EncodedBatch.interleave(first, second), EncodedBatch.interleave(second, first))
        maps = [model.head(side, outputs[side - 1], shape) for side in (1, 2)]
    return [value for one in maps for value in one.values()]


def loss_memory(case: Case, matches: int) -> int:
    """Bytes that the training loss takes at most beside the predictions, backward pass included; for real."""
    criterion = parse_expression(CRITERION).build(("losses",))
    batch, height, width = 2 * case.pairs, case.height, case.width
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator)

    views, predictions = [], []
    for side in (1, 2):
        places = [torch.randint(size, (batch, matches), generator=generator) for size in (width, height)]
        views.append(
            {
                "pts3d": random(height, width, 3) + 1,
                "valid_mask": torch.ones(batch, height, width, dtype=torch.bool),
                "sky_mask": torch.zeros(batch, height, width, dtype=torch.bool),
                "camera_pose": torch.eye(4).expand(batch, 4, 4),
                "is_metric_scale": torch.ones(batch, dtype=torch.bool),
                "corres": torch.stack(places, dim=-1),
                "valid_corres": torch.ones(batch, matches, dtype=torch.bool),
            }
        )
        points = "pts3d" if side == 1 else "pts3d_in_other_view"
        maps = {
            points: random(height, width, 3) + 1,
            "conf": random(height, width) + 1,
            "desc": nn.functional.normalize(random(height, width, 24), dim=-1),
            "desc_conf": random(height, width) + 0.5,
        }
        predictions.append({name: value.requires_grad_() for name, value in maps.items()})
    with LiveBytes() as bytes_:
        loss, _ = criterion(*views, *predictions)
        loss.backward()
    return bytes_.peak


def _renew_parameters(model: nn.Module) -> None:
    """Make the parameters of a network on the meta device anew, where tensors are made now."""
    renewed: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                new = nn.Parameter(torch.empty(parameter.shape), requires_grad=parameter.requires_grad)
                module._parameters[name] = renewed.setdefault(id(parameter), new)


def check() -> None:
    """A forward and backward pass for real, in float32 on the CPU: what it adds to the process's memory."""
    device = torch.device("cpu")
    say("| beside the weights, one pair of 224x224, fp32 | process, MiB | estimate, MiB |")
    say("|---|---|---|")
    for name, options in (("LoRA 16", {"lora": 16}), ("LoRA 16, checkpointing", LORA)):
        case = Case(name, 224, 224, options=options, half=False)
        model = ModelConfig.from_expression(MODEL).build()
        prepare_model(model, TrainConfig(train_dataset="none", **options), device)
        images = torch.rand(2, 3, 224, 224)
        reset_peak_memory(device)
        before = peak_memory_mib(device)
        torch.stack([value.sum() for value in forward(model, images, half=False)]).sum().backward()
        found = peak_memory_mib(device) - before
        del model
        expected = estimate(case, 0, optimizer_steps=False)
        say(f"| {name} | {found:,.0f} | {(expected.peak - expected.weights) / MIB:,.0f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--matches", type=int, default=4096, help="n_corres of the loss")
    parser.add_argument("--check", action="store_true", help="forward and backward for real on the CPU")
    arguments = parser.parse_args()
    say(f"{machine_line(torch.device('cpu'))}\n")
    if arguments.check:
        check()
        return
    say("| what is trained | image | pairs | parameters | weights, AdamW | after forward | loss | peak |")
    say("|---|---|---|---|---|---|---|---|")
    losses: dict[tuple[int, int], int] = {}
    for case in CASES:
        key = (case.height, case.pairs)
        if key not in losses:
            losses[key] = loss_memory(case, arguments.matches)
        found = estimate(case, losses[key])
        mib = [f"{count / MIB:,.0f}" for count in (found.steady, found.kept, losses[key], found.peak)]
        say(
            f"| {case.name} | {case.width}x{case.height} | {case.pairs} | {found.trained:,} | "
            f"{' | '.join(mib)} |"
        )


if __name__ == "__main__":
    main()
