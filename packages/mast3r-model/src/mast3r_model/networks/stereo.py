"""DUSt3R: two images in, two point maps in the first camera's frame out (spec 10 sections 5 and 6)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from croco_backbone import CroCoTrunk
from mast3r_model.config import Architecture, ModelConfig
from mast3r_model.device import DtypeName, Precision
from mast3r_model.errors import CheckpointError, InputError
from mast3r_model.heads import HeadFactory, HeadSpec, LocalMaps
from mast3r_model.plugins import registry
from mast3r_model.predictions import PairDescriptors, PairPrediction

from .encoded import EncodedBatch, EncodedImage
from .pairs import decode_image_pairs, describe_image_pairs, encode_images
from .views import View, image_of, is_symmetrized, shapes_on_cpu, true_shape_of

Side: TypeAlias = Literal[1, 2]


class AsymmetricCroCo3DStereo(CroCoTrunk):
    """One encoder for both images, two decoders that look at each other, one head each.

    Args:
        **keywords: fields of :class:`ModelConfig`, for instance ``pos_embed='RoPE100', img_size=(512, 512),
            head_type='dpt'``.

    Attributes:
        config: everything that the network was built from.
        precision: device and dtype to compute in; None follows the caller's autocast. Heads run in float32
            unless this asks for a half precision; what they return is float32 in any case.

    Raises:
        ConfigError: keywords that no network can be built from.
    """

    architecture: ClassVar[Architecture] = "AsymmetricCroCo3DStereo"

    def __init__(self, **keywords: Any) -> None:
        config = ModelConfig.from_keywords(self.architecture, keywords)
        # Found before anything is built: a misspelt head must not cost a minute of initialisation.
        make_heads = cast(HeadFactory, registry("heads")[config.head_type])
        super().__init__(
            img_size=config.img_size,
            patch_size=config.patch_size,
            mask_ratio=config.mask_ratio,
            enc_embed_dim=config.enc_embed_dim,
            enc_depth=config.enc_depth,
            enc_num_heads=config.enc_num_heads,
            dec_embed_dim=config.dec_embed_dim,
            dec_depth=config.dec_depth,
            dec_num_heads=config.dec_num_heads,
            mlp_ratio=config.mlp_ratio,
            norm_im2_in_dec=config.norm_im2_in_dec,
            pos_embed=config.pos_embed,
            patch_embed_cls=config.patch_embed_cls,
        )
        self.config = config
        self.precision: Precision | None = None
        self.output_mode = config.output_mode
        self.head_type = config.head_type
        self.depth_mode = config.depth_mode
        self.conf_mode = config.conf_mode
        self.landscape_only = config.landscape_only

        self.dec_blocks2 = copy.deepcopy(self.dec_blocks)
        heads = make_heads(HeadSpec.from_config(config))
        self.downstream_local = heads.local
        self.downstream_head1 = heads.head1
        self.downstream_head2 = heads.head2
        self._freeze()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: DtypeName | torch.dtype = "auto",
        for_inference: bool = True,
        **overrides: Any,
    ) -> Self:
        """Load a network of this class: :func:`load_model`, with its `overrides` as keywords.

        Raises:
            CheckpointError: the checkpoint holds a network of another class.
        """
        from mast3r_model.checkpoints import load_model

        model = load_model(
            name_or_path, device=device, dtype=dtype, for_inference=for_inference, overrides=overrides
        )
        if not isinstance(model, cls):
            raise CheckpointError(
                f"{name_or_path} holds an {type(model).__name__}, not an {cls.__name__}",
                hint="load_model() loads either",
            )
        return model

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder: upstream's hub layout."""
        from mast3r_model.checkpoints import save_pretrained

        save_pretrained(self, directory)

    def forward(self, view1: View, view2: View) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Predict a batch of pairs, by upstream's dict contract (spec 10 section 6).

        Args:
            view1: ``img`` (batch, 3, height, width) in [-1, 1]; optionally ``true_shape`` (batch, 2), the
                (height, width) of each image as it was shot, and ``instance``, one string per image, by which
                a symmetrised batch is recognised and its images encoded once.
            view2: the same for the second images, whose size may differ.

        Returns:
            Channel-last float32 maps of view 1: ``pts3d`` (batch, height, width, 3), and where configured
            ``conf``, ``desc`` (.., D), ``desc_conf``; those of view 2, whose points are called
            ``pts3d_in_other_view``. All points are in the camera frame of view 1.
        """
        encoded1, encoded2 = self._encode_views(view1, view2)
        outputs1, outputs2 = self.decode(encoded1, encoded2)
        prediction1 = self._oriented_head(1, outputs1, encoded1)
        prediction2 = self._oriented_head(2, outputs2, encoded2)
        prediction2["pts3d_in_other_view"] = prediction2.pop("pts3d")
        return prediction1, prediction2

    @torch.no_grad()
    def encode(
        self, images: Sequence[Float[Tensor, "3 height width"]], *, batch_size: int = 8
    ) -> list[EncodedImage]:
        """Encode images once, for any number of pairs.

        Args:
            images: float32 in [-1, 1], natural orientation, sizes may differ (they are grouped by size).
            batch_size: images at a time.

        Returns:
            The features on the network's device, in the images' order.
        """
        return encode_images(self, images, batch_size=batch_size)

    def decode_pairs(
        self,
        features: Sequence[EncodedImage],
        pairs: Sequence[tuple[int, int]],
        *,
        batch_size: int = 8,
    ) -> Iterator[PairPrediction]:
        """Predict pairs of encoded images.

        Args:
            features: what :meth:`encode` returned, on any device.
            pairs: indices into `features`: (image of view 1, image of view 2).
            batch_size: pairs at a time; pairs of different image sizes go into different batches.

        Returns:
            The predictions in the order of `pairs`, on the network's device.
        """
        return decode_image_pairs(self, features, pairs, batch_size=batch_size)

    def describe_pairs(
        self,
        features: Sequence[EncodedImage],
        pairs: Sequence[tuple[int, int]],
        *,
        batch_size: int = 8,
    ) -> Iterator[PairDescriptors]:
        """:meth:`decode_pairs` for callers that need no points: the same descriptors, sooner.

        Heads that cannot leave the points out compute them all the same.

        Raises:
            InputError: the network has no descriptors, or a pair names no image.
        """
        return describe_image_pairs(self, features, pairs, batch_size=batch_size)

    def encode_batch(
        self,
        image: Float[Tensor, "batch 3 height width"],
        true_shape: Int[Tensor, "batch 2"] | None = None,
    ) -> EncodedBatch:
        """Encode a batch of one tensor size.

        Args:
            image: images in [-1, 1] on the network's device.
            true_shape: (height, width) of each image as it was shot, on any device; None: as the tensor.

        Raises:
            InputError: a size that is no multiple of the patch, or shapes that do not fit the tensor.
        """
        shape = (image.shape[-2], image.shape[-1])
        if any(side < self.patch_size or side % self.patch_size for side in shape):
            raise InputError(
                f"images of {shape[0]}x{shape[1]} pixels (height x width): both sides must be multiples of "
                f"{self.patch_size}",
                hint="load_images() crops photos to such sizes",
            )
        stored_landscape = self.config.patch_embed_cls == "ManyAR_PatchEmbed"
        shapes = shapes_on_cpu(image, true_shape, may_be_transposed=stored_landscape)
        with self._backbone_precision():
            tokens, positions = self.encode_image(image, shapes)
        return EncodedBatch(tokens, positions, self._local_maps(image, shapes), shape, shapes)

    def embed_image(
        self,
        image: Float[Tensor, "batch 3 height width"],
        true_shape: Int[Tensor, "batch 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Int[Tensor, "batch tokens 2"]]:
        """The encoder's input, in the image's precision even where the embedding ran in a lower one."""
        tokens, positions = super().embed_image(image, true_shape)
        return tokens.to(image.dtype), positions

    def decode(
        self, encoded1: EncodedBatch, encoded2: EncodedBatch
    ) -> tuple[list[Float[Tensor, "batch tokens1 _"]], list[Float[Tensor, "batch tokens2 _"]]]:
        """Let two encoded batches look at each other.

        Returns:
            For each side what its head takes: the encoder's output, then that of each decoder block, the last
            one normalised (1 + dec_depth tensors).
        """
        positions1, positions2 = encoded1.positions, encoded2.positions
        with self._backbone_precision():
            tokens1 = self.decoder_embed(encoded1.tokens).to(encoded1.tokens.dtype)
            tokens2 = self.decoder_embed(encoded2.tokens).to(encoded2.tokens.dtype)
            outputs1, outputs2 = [encoded1.tokens], [encoded2.tokens]
            for block1, block2 in zip(self.dec_blocks, self.dec_blocks2, strict=True):
                # Each reads the other's previous tokens, so neither may be replaced before both are done.
                next1, _ = self.run_block(block1, tokens1, tokens2, positions1, positions2)
                next2, _ = self.run_block(block2, tokens2, tokens1, positions2, positions1)
                tokens1, tokens2 = next1, next2
                outputs1.append(tokens1)
                outputs2.append(tokens2)
            outputs1[-1] = self.dec_norm(tokens1)
            outputs2[-1] = self.dec_norm(tokens2)
        return outputs1, outputs2

    def head(
        self,
        number: Side,
        decoder_outputs: list[Tensor],
        image_shape: tuple[int, int],
        local: LocalMaps | None = None,
        *,
        descriptors_only: bool = False,
    ) -> dict[str, Tensor]:
        """Turn one side's decoder outputs into maps.

        Args:
            number: 1 for view 1, 2 for view 2.
            decoder_outputs: one of the two lists of :meth:`decode`.
            image_shape: (height, width) of the images in their natural orientation.
            local: local maps in that orientation, if the head has a local module.
            descriptors_only: leave the points out, if the head can and they are not needed for the
                descriptors' confidence.

        Returns:
            Channel-last float32 maps ``pts3d``, and where configured ``conf``, ``desc``, ``desc_conf``.
        """
        head = self.downstream_head1 if number == 1 else self.downstream_head2
        if descriptors_only and self.config.two_confs:
            head = getattr(head, "describe", head)
        with self._head_precision():
            if not self._half_heads():
                decoder_outputs = [tokens.float() for tokens in decoder_outputs]
                local = None if local is None else tuple(maps.float() for maps in local)
            return head(decoder_outputs, image_shape, local)

    def _encode_views(self, view1: View, view2: View) -> tuple[EncodedBatch, EncodedBatch]:
        """Encode both views, each image once where the batch is symmetrised (spec 10 section 6.3)."""
        image1, image2 = image_of(view1), image_of(view2)
        shapes1, shapes2 = true_shape_of(view1), true_shape_of(view2)
        if image1.shape[0] != image2.shape[0]:
            raise InputError(
                f"the views hold different numbers of images: {image1.shape[0]}, {image2.shape[0]}"
            )
        symmetrized = is_symmetrized(view1.get("instance"), view2.get("instance"))
        if symmetrized and image1.shape == image2.shape:
            even1 = None if shapes1 is None else shapes1[::2]
            even2 = None if shapes2 is None else shapes2[::2]
            first, second = self._encode_two(image1[::2], image2[::2], even1, even2)
            return EncodedBatch.interleave(first, second), EncodedBatch.interleave(second, first)
        return self._encode_two(image1, image2, shapes1, shapes2)

    def _encode_two(
        self, image1: Tensor, image2: Tensor, shapes1: Tensor | None, shapes2: Tensor | None
    ) -> tuple[EncodedBatch, EncodedBatch]:
        """Encode two batches, in one go if their images have the same size."""
        if image1.shape != image2.shape or (shapes1 is None) != (shapes2 is None):
            return self.encode_batch(image1, shapes1), self.encode_batch(image2, shapes2)
        shapes = None if shapes1 is None or shapes2 is None else torch.cat([shapes1.cpu(), shapes2.cpu()])
        both = self.encode_batch(torch.cat([image1, image2]), shapes)
        return both.rows(slice(None, len(image1))), both.rows(slice(len(image1), None))

    def _local_maps(self, image: Tensor, shapes: Tensor) -> LocalMaps | None:
        """Run the heads' local module on upright images; the maps lie as the tensor does."""
        if self.downstream_local is None:
            return None
        height, width = image.shape[-2:]
        turned = (shapes != torch.tensor([height, width])).any(dim=1)
        local = self.downstream_local
        with self._head_precision():
            if not turned.any():
                return tuple(local(image))
            if turned.all():
                return _transposed(local(image.transpose(2, 3)))
            upright_rows, turned_rows = _split(turned, image.device)
            upright = tuple(local(image[upright_rows]))
            transposed = _transposed(local(image[turned_rows].transpose(2, 3)))
        order = torch.cat([upright_rows, turned_rows]).argsort()
        return tuple(torch.cat(maps)[order] for maps in zip(upright, transposed, strict=True))

    def _oriented_head(
        self, number: Side, decoder_outputs: list[Tensor], encoded: EncodedBatch
    ) -> dict[str, Tensor]:
        """Run a head on upright images and lay its maps out as `landscape_only` says (spec 10 6.7)."""
        shape = encoded.uniform_shape()
        if not self.landscape_only:
            if shape is None:
                raise InputError(
                    "the images of a view differ in size or orientation",
                    hint="batch images of one size, or build the network with landscape_only=True",
                )
            return self.head(number, decoder_outputs, shape, encoded.upright_local())
        if shape is not None:
            maps = self.head(number, decoder_outputs, shape, encoded.upright_local())
            return maps if shape[1] >= shape[0] else _transposed_maps(maps)
        portrait = encoded.true_shape[:, 0] > encoded.true_shape[:, 1]
        parts, rows_of_parts = [], _split(portrait, encoded.tokens.device)
        for rows in rows_of_parts:
            outputs = [tokens[rows] for tokens in decoder_outputs]
            parts.append(self._oriented_head(number, outputs, encoded.rows(rows)))
        order = torch.cat(rows_of_parts).argsort()
        return {key: torch.cat([part[key] for part in parts])[order] for key in parts[0]}

    def _backbone_precision(self) -> AbstractContextManager[None]:
        return nullcontext() if self.precision is None else self.precision.autocast()

    def _half_heads(self) -> bool:
        return self.precision is not None and self.precision.dtype != torch.float32

    def _head_precision(self) -> AbstractContextManager[None]:
        if self.precision is not None and self._half_heads():
            return self.precision.autocast()
        return torch.autocast(self.mask_token.device.type, enabled=False)

    def _freeze(self) -> None:
        """Switch gradients off; 'encoder' leaves ``enc_norm`` trainable, as upstream does."""
        if self.config.freeze == "none":
            return
        self.mask_token.requires_grad_(False)
        if self.config.freeze == "encoder":
            frozen: list[nn.Module] = [self.patch_embed, self.enc_blocks]
            for module in frozen:
                module.requires_grad_(False)


def _split(chosen: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row numbers where `chosen` is False, and where it is True."""
    return (~chosen).nonzero().flatten().to(device), chosen.nonzero().flatten().to(device)


def _transposed(maps: LocalMaps) -> LocalMaps:
    return tuple(feature_map.transpose(2, 3) for feature_map in maps)


def _transposed_maps(maps: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.transpose(1, 2) for key, value in maps.items()}
