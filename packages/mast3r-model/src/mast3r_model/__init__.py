"""MASt3R and DUSt3R networks: models, checkpoints, images, inference, plugins, expressions, the command.

Names are imported on first use (PEP 562): ``mast3r --help`` imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_names as lazy_names

if TYPE_CHECKING:
    from .checkpoints import CheckpointInfo as CheckpointInfo
    from .checkpoints import KeyMismatchError as KeyMismatchError
    from .checkpoints import LoadReport as LoadReport
    from .checkpoints import ModelPreset as ModelPreset
    from .checkpoints import check_weights as check_weights
    from .checkpoints import checkpoint_info as checkpoint_info
    from .checkpoints import convert as convert
    from .checkpoints import download as download
    from .checkpoints import load_croco as load_croco
    from .checkpoints import load_model as load_model
    from .checkpoints import load_pretrained_into as load_pretrained_into
    from .checkpoints import local_path as local_path
    from .checkpoints import locate as locate
    from .checkpoints import read_checkpoint as read_checkpoint
    from .checkpoints import read_pth as read_pth
    from .checkpoints import save_pretrained as save_pretrained
    from .checkpoints import save_pth as save_pth
    from .checkpoints import write_pth as write_pth
    from .config import ModelConfig as ModelConfig
    from .device import Precision as Precision
    from .device import available_devices as available_devices
    from .device import cpu_threads as cpu_threads
    from .device import resolve_device as resolve_device
    from .device import resolve_precision as resolve_precision
    from .errors import CheckpointError as CheckpointError
    from .errors import ConfigError as ConfigError
    from .errors import DeviceError as DeviceError
    from .errors import ExpressionError as ExpressionError
    from .errors import ImageError as ImageError
    from .errors import InputError as InputError
    from .errors import Mast3rError as Mast3rError
    from .errors import NothingFoundError as NothingFoundError
    from .errors import OutputError as OutputError
    from .errors import PluginError as PluginError
    from .errors import UnsafeCheckpointError as UnsafeCheckpointError
    from .expressions import Expression as Expression
    from .expressions import Term as Term
    from .expressions import parse_expression as parse_expression
    from .files import atomic_write as atomic_write
    from .files import output_error as output_error
    from .heads import HeadPair as HeadPair
    from .heads import HeadSpec as HeadSpec
    from .heads import output_maps as output_maps
    from .heads import tokens_to_map as tokens_to_map
    from .identity import NetworkIdentity as NetworkIdentity
    from .identity import network_identity as network_identity
    from .image_transform import ImageTransform as ImageTransform
    from .images import LoadedImage as LoadedImage
    from .images import apply_transform as apply_transform
    from .images import crop_and_resize_transform as crop_and_resize_transform
    from .images import exif_focal as exif_focal
    from .images import load_image as load_image
    from .images import load_images as load_images
    from .images import load_mask as load_mask
    from .images import nearest_network_shape as nearest_network_shape
    from .images import read_rgb as read_rgb
    from .networks import AsymmetricCroCo3DStereo as AsymmetricCroCo3DStereo
    from .networks import AsymmetricMASt3R as AsymmetricMASt3R
    from .networks import EncodedBatch as EncodedBatch
    from .networks import EncodedImage as EncodedImage
    from .pair_inference import collate_with_cat as collate_with_cat
    from .pair_inference import inference as inference
    from .pairs import make_pairs as make_pairs
    from .plugins import CommandSpec as CommandSpec
    from .plugins import Registry as Registry
    from .plugins import hookimpl as hookimpl
    from .plugins import hookspec as hookspec
    from .plugins import nearest_names as nearest_names
    from .plugins import plugin_manager as plugin_manager
    from .plugins import registry as registry
    from .plugins import temporary_plugin as temporary_plugin
    from .predictions import PairDescriptors as PairDescriptors
    from .predictions import PairPrediction as PairPrediction
    from .view_dicts import view_to_device as view_to_device

_MODULES = {
    "checkpoints": (
        "CheckpointInfo",
        "KeyMismatchError",
        "LoadReport",
        "ModelPreset",
        "check_weights",
        "checkpoint_info",
        "convert",
        "download",
        "load_croco",
        "load_model",
        "load_pretrained_into",
        "local_path",
        "locate",
        "read_checkpoint",
        "read_pth",
        "save_pretrained",
        "save_pth",
        "write_pth",
    ),
    "config": ("ModelConfig",),
    "device": (
        "Precision",
        "available_devices",
        "cpu_threads",
        "resolve_device",
        "resolve_precision",
    ),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DeviceError",
        "ExpressionError",
        "ImageError",
        "InputError",
        "Mast3rError",
        "NothingFoundError",
        "OutputError",
        "PluginError",
        "UnsafeCheckpointError",
    ),
    "expressions": (
        "Expression",
        "Term",
        "parse_expression",
    ),
    "files": (
        "atomic_write",
        "output_error",
    ),
    "heads": (
        "HeadPair",
        "HeadSpec",
        "output_maps",
        "tokens_to_map",
    ),
    "identity": (
        "NetworkIdentity",
        "network_identity",
    ),
    "image_transform": ("ImageTransform",),
    "images": (
        "LoadedImage",
        "apply_transform",
        "crop_and_resize_transform",
        "exif_focal",
        "load_image",
        "load_images",
        "load_mask",
        "nearest_network_shape",
        "read_rgb",
    ),
    "lazy": ("lazy_names",),
    "networks": (
        "AsymmetricCroCo3DStereo",
        "AsymmetricMASt3R",
        "EncodedBatch",
        "EncodedImage",
    ),
    "pair_inference": (
        "collate_with_cat",
        "inference",
    ),
    "pairs": ("make_pairs",),
    "plugins": (
        "CommandSpec",
        "Registry",
        "hookimpl",
        "hookspec",
        "nearest_names",
        "plugin_manager",
        "registry",
        "temporary_plugin",
    ),
    "predictions": (
        "PairDescriptors",
        "PairPrediction",
    ),
    "view_dicts": ("view_to_device",),
}

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
