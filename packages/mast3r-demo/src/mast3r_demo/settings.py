"""What a visitor chooses, and what it means for `mast3r_sfm` and for ``mast3r sfm`` (spec 60 A2, D2, F4)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from mast3r_model import InputError

if TYPE_CHECKING:
    from mast3r_sfm import AdamOptions, ReconstructionOptions

Graph: TypeAlias = Literal["auto", "complete", "swin", "logwin", "oneref", "retrieval"]
Quality: TypeAlias = Literal["coarse", "refine", "refine+depth"]
Mapper: TypeAlias = Literal["sparse", "dense", "colmap", "glomap"]
Solver: TypeAlias = Literal["lm", "adam"]
Schedule: TypeAlias = Literal["linear", "cosine"]

COMPLETE_UP_TO = 12
"""``auto`` pairs all of so many photos."""
AUTO_WINDOW = 3

COARSE_LR, COARSE_ITERATIONS, FINE_LR, FINE_ITERATIONS = 0.07, 300, 0.01, 300


@dataclass(frozen=True, kw_only=True)
class ReconstructionSettings:
    """What a visitor chooses for a reconstruction; the defaults are the page's.

    Attributes:
        graph: which photos meet. ``auto``: all up to 12 photos; of more the similar ones if there is a
            retrieval checkpoint, else neighbours in the sequence, further ones too unless it is a video.
        window: of ``swin`` and ``logwin``.
        cyclic: after the last photo comes the first.
        reference: number of the photo that ``oneref`` pairs with all.
        key_images: of ``retrieval``.
        neighbours: of ``retrieval``.
        retrieval: a retrieval checkpoint; None: the network's own features say which photos look alike.
        shared_intrinsics: one camera took all photos.
        quality: ``coarse``: matches in 3D only; ``refine``: reprojection too; ``refine+depth``: depth too.
        mapper: how cameras are found.
        coarse_lr: of solver ``adam``.
        coarse_iterations: of solver ``adam``.
        fine_lr: of solver ``adam``.
        fine_iterations: of solver ``adam``; 0 is quality ``coarse``.
        matching_confidence: pairs whose best match is not above this do not count as matched.
        solver: of the sparse mapper; ``adam`` is taken too where one of its four numbers is not its default.
        schedule: of the dense mapper.
        iterations: of the dense mapper.
        image_size: long side of the network's input in pixels.
        seed: of everything random.
        fps: frames a second of a video; None: there is none.
    """

    graph: Graph = "auto"
    window: int = 3
    cyclic: bool = False
    reference: int = 0
    key_images: int = 20
    neighbours: int = 10
    retrieval: str | None = None
    shared_intrinsics: bool = False
    quality: Quality = "refine"
    mapper: Mapper = "sparse"
    coarse_lr: float = COARSE_LR
    coarse_iterations: int = COARSE_ITERATIONS
    fine_lr: float = FINE_LR
    fine_iterations: int = FINE_ITERATIONS
    matching_confidence: float = 0.0
    solver: Solver = "lm"
    schedule: Schedule = "linear"
    iterations: int = 300
    image_size: int = 512
    seed: int = 0
    fps: float | None = None

    def __post_init__(self) -> None:
        """Check what came from a browser.

        Raises:
            InputError: a choice that there is not, or a number out of range.
        """
        for name, choices in (
            ("graph", Graph),
            ("quality", Quality),
            ("mapper", Mapper),
            ("solver", Solver),
            ("schedule", Schedule),
        ):
            if getattr(self, name) not in get_args(choices):
                raise InputError(
                    f"{name} is {getattr(self, name)!r}", f"expected one of {', '.join(get_args(choices))}"
                )
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise InputError(f"{name} is {value}", f"expected {least:g} to {most:g}")

    @property
    def by_adam(self) -> bool:
        """Whether the sparse mapper takes upstream's schedule: asked for, or one of its numbers changed."""
        numbers = (self.coarse_lr, self.coarse_iterations, self.fine_lr, self.fine_iterations)
        usual = (COARSE_LR, COARSE_ITERATIONS, FINE_LR, FINE_ITERATIONS)
        return self.mapper == "sparse" and (self.solver == "adam" or numbers != usual)

    def graph_name(self, count: int) -> str:
        """The scene graph for so many photos as `mast3r_sfm.graph_pairs` reads it, ``auto`` resolved."""
        graph, window = self.graph, self.window
        if graph == "auto" and count <= COMPLETE_UP_TO:
            graph = "complete"
        elif graph == "auto" and self.retrieval is not None:
            graph = "retrieval"
        elif graph == "auto":
            graph, window = ("logwin" if self.fps is None else "swin"), AUTO_WINDOW
        if graph in ("swin", "logwin"):
            return f"{graph}-{window}" + ("" if self.cyclic else "-noncyclic")
        if graph == "oneref":
            return f"oneref-{self.reference}"
        if graph == "retrieval":
            return f"retrieval-{self.key_images}-{self.neighbours}"
        return graph

    def pair_count(self, count: int) -> int:
        """Pairs of so many photos; for ``retrieval``, which depends on the photos, the most there may be.

        Raises:
            InputError: the reference photo is not among so many.
        """
        from mast3r_sfm import graph_pairs

        graph = self.graph_name(count)
        if not graph.startswith("retrieval-"):
            return len(graph_pairs(graph, count))
        keys, neighbours = min(self.key_images, count), min(self.neighbours, max(count - 1, 0))
        most = keys * (keys - 1) // 2 + (count - keys if keys else 0) + count * neighbours
        return min(most, count * (count - 1) // 2)

    def options(self, count: int = 2, *, batch_size: int | None = None) -> ReconstructionOptions:
        """What `mast3r_sfm.reconstruct` is told.

        Args:
            count: of photos.
            batch_size: images, and pairs, at a time; None for what suits the device.
        """
        from mast3r_sfm import DenseMapping, LmOptions, PredictionOptions, ReconstructionOptions

        base = self._adam() if self.by_adam else LmOptions()
        align = replace(
            base,
            fine=self.quality != "coarse" and self.fine_iterations != 0,
            optimize_depth=self.quality == "refine+depth",
        )
        return ReconstructionOptions(
            graph=self.graph_name(count),
            retriever=self.retrieval or "encoder",
            mapper=self.mapper,
            solver="adam" if self.by_adam else "lm",
            align=align,
            dense=DenseMapping(iterations=self.iterations, schedule=self.schedule),
            prediction=PredictionOptions(batch_size=batch_size),
            matching_confidence=self.matching_confidence,
            shared_intrinsics=self.shared_intrinsics,
            clean_depth=False,  # a switch of the view, which works without a new run
        )

    def _adam(self) -> AdamOptions:
        from mast3r_sfm import AdamOptions

        return AdamOptions(
            coarse_lr=self.coarse_lr,
            coarse_iterations=self.coarse_iterations,
            fine_lr=self.fine_lr,
            fine_iterations=self.fine_iterations,
        )

    def command(
        self, inputs: Sequence[str], output: str, *, count: int | None = None, model: str | None = None
    ) -> str:
        """The ``mast3r sfm`` line that gives the same result.

        Args:
            inputs: names of photos, of a folder or of a video.
            output: name of the folder to write.
            count: of photos; None: as many as inputs.
            model: name of the network; None: not said.
        """
        flags = self._flags(len(inputs) if count is None else count)
        flags += [] if model is None else ["--model", model]
        return shlex.join(["mast3r", "sfm", *inputs, "-o", output, *flags])

    def _flags(self, count: int) -> list[str]:
        """Flags with what differs from the command's own defaults."""
        flags = ["--graph", self.graph_name(count)]
        if self.retrieval is not None and flags[1].startswith("retrieval"):
            flags += ["--retrieval", self.retrieval]
        if self.quality != "refine+depth":
            flags += ["--quality", self.quality]
        if self.mapper != "sparse":
            flags += ["--mapper", self.mapper]
        if self.mapper == "dense":
            flags += ["--schedule", self.schedule, "--iters", str(self.iterations)]
        if self.by_adam:
            flags += ["--solver", "adam"]
            flags += ["--lr1", f"{self.coarse_lr:g}", "--iters1", str(self.coarse_iterations)]
            flags += ["--lr2", f"{self.fine_lr:g}", "--iters2", str(self.fine_iterations)]
        if self.matching_confidence:
            flags += ["--matching-confidence", f"{self.matching_confidence:g}"]
        if self.shared_intrinsics:
            flags += ["--shared-intrinsics"]
        if self.image_size != 512:
            flags += ["--image-size", str(self.image_size)]
        if self.seed:
            flags += ["--seed", str(self.seed)]
        if self.fps is not None:
            flags += ["--fps", f"{self.fps:g}"]
        return flags


_RANGES = (
    ("window", 1, 1000),
    ("reference", 0, 100_000),
    ("key_images", 0, 100_000),
    ("neighbours", 1, 100_000),
    ("coarse_lr", 1e-6, 10),
    ("coarse_iterations", 0, 10_000),
    ("fine_lr", 1e-6, 10),
    ("fine_iterations", 0, 10_000),
    ("matching_confidence", 0, 1000),
    ("iterations", 0, 10_000),
    ("image_size", 32, 4096),
    ("seed", 0, 2**63 - 1),
    ("fps", 0.01, 240),
)
