"""What a network is made of: one frozen dataclass with every constructor keyword, checked on creation.

Importing this module is light (no torch): the command line reads configurations without building anything.
Source: spec 10 sections 4.6, 5.1, 7.1, 7.5, 9.2 and 9.3.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from .errors import ConfigError
from .plugins import suggestion

if TYPE_CHECKING:
    from .networks import AsymmetricCroCo3DStereo

Architecture: TypeAlias = Literal["AsymmetricMASt3R", "AsymmetricCroCo3DStereo"]
Freeze: TypeAlias = Literal["none", "mask", "encoder"]
ValueMode: TypeAlias = tuple[str, float, float]
"""How raw numbers become values: (name, lower bound, upper bound), see spec 10 section 7.5."""

_INFINITE = (-math.inf, math.inf)
_DEPTH_MODES = ("linear", "square", "exp")
_CONFIDENCE_MODES = ("exp", "sigmoid")
_ONLY_MAST3R = ("desc_mode", "two_confs", "desc_conf_mode")
_COUNTS = (
    "patch_size",
    "enc_embed_dim",
    "enc_depth",
    "enc_num_heads",
    "dec_embed_dim",
    "dec_depth",
    "dec_num_heads",
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Constructor keywords of :class:`AsymmetricMASt3R` and :class:`AsymmetricCroCo3DStereo`.

    Lists are as good as tuples (JSON has no tuples) and an int ``img_size`` means a square.
    ``desc_mode``, ``two_confs`` and ``desc_conf_mode`` belong to ``AsymmetricMASt3R`` alone.

    Raises:
        ConfigError: a value, or a combination of values, that no network can be built from.
    """

    architecture: Architecture
    output_mode: str = "pts3d"  # or 'pts3d+desc<D>': D numbers of descriptor per pixel
    head_type: str = "linear"  # a name of registry("heads")
    depth_mode: ValueMode = ("exp", *_INFINITE)
    conf_mode: ValueMode | None = ("exp", 1, math.inf)  # None: no confidence channel
    freeze: Freeze = "none"
    landscape_only: bool = True  # outputs always in landscape layout; False: as the image is
    patch_embed_cls: str = "PatchEmbedDust3R"  # or 'ManyAR_PatchEmbed': mixed orientations in one batch
    desc_mode: str = "norm"
    two_confs: bool = False  # descriptors have a confidence of their own
    desc_conf_mode: ValueMode | None = None  # None: as conf_mode
    img_size: tuple[int, int] = (224, 224)  # (height, width)
    patch_size: int = 16
    mask_ratio: float = 0.9  # of CroCo's pretraining, unused here
    enc_embed_dim: int = 768
    enc_depth: int = 12
    enc_num_heads: int = 12
    dec_embed_dim: int = 512
    dec_depth: int = 8
    dec_num_heads: int = 16
    mlp_ratio: float = 4
    norm_im2_in_dec: bool = True
    pos_embed: str = "cosine"  # CroCo's default, which these networks refuse: give 'RoPE100'

    def __post_init__(self) -> None:
        for name in ("depth_mode", "conf_mode", "desc_conf_mode"):
            object.__setattr__(self, name, _value_mode(name, getattr(self, name)))
        object.__setattr__(self, "img_size", _image_size(self.img_size))
        self._check_kind()
        self._check_sizes()
        self._check_value_modes()

    @property
    def desc_dim(self) -> int | None:
        """Numbers per descriptor, None for a network without descriptors."""
        return descriptor_size(self.output_mode)

    @classmethod
    def from_keywords(cls, architecture: str, keywords: Mapping[str, Any]) -> ModelConfig:
        """Configuration of class `architecture` called with `keywords`.

        Raises:
            ConfigError: unknown architecture, or a keyword that it does not take (the nearest are named).
        """
        if architecture not in get_args(Architecture):
            known = ", ".join(get_args(Architecture))
            raise ConfigError(f"unknown network class {architecture!r}", hint=f"known classes: {known}")
        known_names = _keyword_names(architecture)
        for name in keywords:
            if name not in known_names:
                raise ConfigError(
                    f"{architecture} has no option {name!r}", hint=suggestion(name, known_names)
                )
        return cls(architecture=cast(Architecture, architecture), **keywords)

    @classmethod
    def from_expression(cls, text: str) -> ModelConfig:
        """Read a model string such as ``AsymmetricMASt3R(pos_embed='RoPE100', ...)`` (spec 10 section 9.2).

        Raises:
            ExpressionError: text that is no call with literal keywords.
            ConfigError: as in :meth:`from_keywords`.
        """
        from mast3r_model.expressions import parse_expression

        name, keywords = parse_expression(text).call()
        return cls.from_keywords(name, keywords)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], architecture: Architecture | None = None) -> ModelConfig:
        """Read the content of a ``config.json`` (spec 10 section 9.3).

        Args:
            values: keyword to value; our own files also hold ``architecture``.
            architecture: what to build if the file does not say; None decides by the output mode.
        """
        keywords = dict(values)
        named = keywords.pop("architecture", None) or architecture
        if named is None:
            has_descriptors = "desc" in str(keywords.get("output_mode", ""))
            named = "AsymmetricMASt3R" if has_descriptors else "AsymmetricCroCo3DStereo"
        return cls.from_keywords(named, keywords)

    def keywords(self) -> dict[str, Any]:
        """The constructor keywords of the class named by ``architecture``, all of them."""
        return {name: getattr(self, name) for name in _keyword_names(self.architecture)}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: lists in place of tuples; infinities become ``Infinity``, as in upstream's files."""
        values = {"architecture": self.architecture, **self.keywords()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def to_expression(self) -> str:
        """The model string, readable by :meth:`from_expression` and by upstream."""
        arguments = ", ".join(f"{name}={_literal(value)}" for name, value in self.keywords().items())
        return f"{self.architecture}({arguments})"

    def for_inference(self) -> ModelConfig:
        """The same network for images in their natural orientation (spec 10 section 9.2)."""
        return dataclasses.replace(self, patch_embed_cls="PatchEmbedDust3R", landscape_only=False)

    def build(self) -> AsymmetricCroCo3DStereo:
        """The network itself, freshly initialised; under ``torch.device("meta")`` without any memory."""
        from mast3r_model import networks

        network = {
            "AsymmetricMASt3R": networks.AsymmetricMASt3R,
            "AsymmetricCroCo3DStereo": networks.AsymmetricCroCo3DStereo,
        }[self.architecture]
        return network(**self.keywords())

    def _check_kind(self) -> None:
        """Words that must be among the known ones, and that must fit each other."""
        _one_of("architecture", self.architecture, get_args(Architecture))
        _one_of("freeze", self.freeze, get_args(Freeze))
        _one_of("patch_embed_cls", self.patch_embed_cls, ("PatchEmbedDust3R", "ManyAR_PatchEmbed"))
        for name in ("landscape_only", "two_confs", "norm_im2_in_dec"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.architecture == "AsymmetricMASt3R" and self.desc_dim is None:
            raise ConfigError(
                f"AsymmetricMASt3R predicts descriptors, but output_mode is {self.output_mode!r} "
                f"(head_type {self.head_type!r})",
                hint="give output_mode='pts3d+desc24' and a head with descriptors such as 'catmlp+dpt', "
                "or build AsymmetricCroCo3DStereo",
            )
        if self.architecture == "AsymmetricCroCo3DStereo":
            if self.desc_dim is not None:
                raise ConfigError(
                    f"AsymmetricCroCo3DStereo has no descriptors, but output_mode is {self.output_mode!r}",
                    hint="give output_mode='pts3d', or build AsymmetricMASt3R",
                )
            if self.two_confs:
                raise ConfigError("two_confs is an option of AsymmetricMASt3R alone")

    def _check_sizes(self) -> None:
        """Numbers: positive, divisible, and rotary positions that fit the heads."""
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a positive whole number, got {value!r}")
        if any(side < self.patch_size or side % self.patch_size for side in self.img_size):
            raise ConfigError(
                f"img_size {self.img_size} is no multiple of patch_size {self.patch_size}",
                hint=f"give a (height, width) of multiples of {self.patch_size}",
            )
        _rope_base(self.pos_embed)
        for side in ("enc", "dec"):
            width, heads = getattr(self, f"{side}_embed_dim"), getattr(self, f"{side}_num_heads")
            if width % (4 * heads):
                raise ConfigError(
                    f"{side}_embed_dim {width} over {side}_num_heads {heads} gives heads of "
                    f"{width / heads:g} channels",
                    hint="rotary positions need heads whose width is a multiple of 4",
                )

    def _check_value_modes(self) -> None:
        """Names and bounds of the maps from raw numbers to values (spec 10 sections 7.5 and 7.8)."""
        _one_of("depth_mode", self.depth_mode[0], _DEPTH_MODES)
        if self.depth_mode[1:] != _INFINITE:
            raise ConfigError(f"the bounds of depth_mode must be (-inf, inf), got {self.depth_mode[1:]}")
        for name in ("conf_mode", "desc_conf_mode"):
            mode = getattr(self, name)
            if mode is not None:
                _one_of(name, mode[0], _CONFIDENCE_MODES)
                if not mode[1] < mode[2] or (mode[0] == "sigmoid" and math.isinf(mode[2] - mode[1])):
                    raise ConfigError(f"{name} has impossible bounds: {mode}")
        if not isinstance(self.desc_mode, str) or "norm" not in self.desc_mode:
            raise ConfigError(f"desc_mode must be 'norm', got {self.desc_mode!r}")
        if self.architecture == "AsymmetricMASt3R" and self.conf_mode is None:
            if not self.two_confs:
                raise ConfigError(
                    "conf_mode=None leaves nothing to copy the descriptors' confidence from",
                    hint="give conf_mode=('exp', 1, inf), or two_confs=True with a desc_conf_mode",
                )
            if self.desc_conf_mode is None:
                raise ConfigError(
                    "two_confs=True with conf_mode=None needs a desc_conf_mode",
                    hint="for instance desc_conf_mode=('exp', 0, inf)",
                )


def descriptor_size(output_mode: str) -> int | None:
    """Numbers per descriptor that an output mode asks for: 'pts3d' -> None, 'pts3d+desc24' -> 24."""
    if output_mode == "pts3d":
        return None
    match = re.fullmatch(r"pts3d\+desc([1-9]\d{0,4})", output_mode) if isinstance(output_mode, str) else None
    if match is None:
        raise ConfigError(
            f"unknown output_mode {output_mode!r}",
            hint="'pts3d', or 'pts3d+desc<D>' with the descriptors' size, such as 'pts3d+desc24'",
        )
    return int(match[1])


def _rope_base(pos_embed: str) -> float:
    """The base of 'RoPE<base>'."""
    match = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", pos_embed) if isinstance(pos_embed, str) else None
    if match is None or float(match[1]) <= 0:
        raise ConfigError(
            f"pos_embed must be 'RoPE<base>', got {pos_embed!r}",
            hint="give pos_embed='RoPE100'; the cosine embedding (CroCo's default) works in CroCo alone, "
            "not in stereo networks",
        )
    return float(match[1])


def _keyword_names(architecture: str) -> list[str]:
    names = [field.name for field in dataclasses.fields(ModelConfig) if field.name != "architecture"]
    return [name for name in names if architecture == "AsymmetricMASt3R" or name not in _ONLY_MAST3R]


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"unknown {name} {value!r}", hint=f"one of {', '.join(map(repr, known))}")


def _value_mode(name: str, value: object) -> ValueMode | None:
    """A value mode as a tuple, whatever sequence it came in."""
    if value is None and name != "depth_mode":
        return None
    if isinstance(value, list | tuple) and len(value) == 3:
        kind, lower, upper = value
        if isinstance(kind, str) and all(isinstance(bound, int | float) for bound in (lower, upper)):
            return (kind, lower, upper)
    raise ConfigError(f"{name} must be (name, lower, upper) such as ('exp', 1, inf), got {value!r}")


def _image_size(value: object) -> tuple[int, int]:
    """(height, width) from an int, a list or a tuple."""
    sides = (value, value) if isinstance(value, int) else value
    if isinstance(sides, list | tuple) and len(sides) == 2:
        height, width = sides
        if isinstance(height, int) and isinstance(width, int):
            return (height, width)
    raise ConfigError(f"img_size must be an int or (height, width), got {value!r}")


def _literal(value: object) -> str:
    """Python text of a value, with infinities by the name that upstream's strings use."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))})"
    return repr(value)
