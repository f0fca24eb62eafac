"""ModelConfig: what it accepts, what it refuses and how it says so, and its written forms."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from mast3r_model import AsymmetricMASt3R, ConfigError, ModelConfig, PluginError

OFFICIAL = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='catmlp+dpt', output_mode='pts3d+desc24', depth_mode=('exp', -inf, inf), "
    "conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, "
    "two_confs=True, desc_conf_mode=('exp', 0, inf))"
)
MAST3R: dict[str, Any] = {
    "pos_embed": "RoPE100",
    "head_type": "catconv",
    "output_mode": "pts3d+desc24",
    "enc_depth": 1,
    "dec_depth": 1,
}


@pytest.mark.parametrize(
    ("head_type", "output_mode", "parameters", "keys"),
    [
        ("catmlp+dpt", "pts3d+desc24", 688_638_856, 1017),
        ("dpt", "pts3d", 571_171_208, 1009),
        ("linear", "pts3d", 532_342_784, 877),
    ],
)
def test_official_sizes(head_type: str, output_mode: str, parameters: int, keys: int) -> None:
    keywords = ModelConfig.from_expression(OFFICIAL).keywords() | {
        "head_type": head_type,
        "output_mode": output_mode,
    }
    architecture = "AsymmetricMASt3R" if "desc" in output_mode else "AsymmetricCroCo3DStereo"
    if architecture == "AsymmetricCroCo3DStereo":
        for name in ("two_confs", "desc_mode", "desc_conf_mode"):
            del keywords[name]
    with torch.device("meta"):
        model = ModelConfig.from_keywords(architecture, keywords).build()
    assert sum(weight.numel() for weight in model.parameters()) == parameters
    assert len(model.state_dict()) == keys
    assert not list(model.buffers())


def test_official_key_names() -> None:
    with torch.device("meta"):
        shapes = {
            name: tuple(value.shape)
            for name, value in ModelConfig.from_expression(OFFICIAL).build().state_dict().items()
        }
    assert sum(math.prod(shape) for shape in shapes.values()) == 695_274_376
    assert shapes["mask_token"] == (1, 1, 768)
    assert shapes["dec_blocks2.11.cross_attn.projk.weight"] == (768, 768)
    assert shapes["downstream_head2.dpt.scratch.layer_rn.3.weight"] == (256, 768, 3, 3)
    assert shapes["downstream_head1.dpt.act_postprocess.3.1.weight"] == (768, 768, 3, 3)
    assert shapes["downstream_head1.dpt.head.4.weight"] == (4, 128, 1, 1)
    assert shapes["downstream_head2.head_local_features.fc2.weight"] == (6400, 7168)


@pytest.mark.parametrize("inference", [False, True])
def test_written_forms_round_trip(inference: bool) -> None:
    config = ModelConfig.from_expression(OFFICIAL)
    if inference:
        config = config.for_inference()
        assert config.patch_embed_cls == "PatchEmbedDust3R"
        assert config.landscape_only is False
    assert ModelConfig.from_expression(config.to_expression()) == config
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_upstreams_json_has_no_architecture() -> None:
    values = {"pos_embed": "RoPE100", "img_size": [512, 384], "depth_mode": ["exp", -math.inf, math.inf]}
    config = ModelConfig.from_dict(values)
    assert config.architecture == "AsymmetricCroCo3DStereo"
    assert config.img_size == (512, 384)
    config = ModelConfig.from_dict(values | {"head_type": "catconv", "output_mode": "pts3d+desc8"})
    assert config.architecture == "AsymmetricMASt3R"
    assert config.desc_dim == 8


def test_infinities_of_any_spelling() -> None:
    for infinity in ("inf", "float('inf')", "np.inf"):
        text = f"AsymmetricCroCo3DStereo(pos_embed='RoPE100', depth_mode=('exp', -{infinity}, {infinity}))"
        assert ModelConfig.from_expression(text).depth_mode == ("exp", -math.inf, math.inf)


def test_int_image_size_is_a_square() -> None:
    config = ModelConfig(architecture="AsymmetricMASt3R", **MAST3R, img_size=256)
    assert config.img_size == (256, 256)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"pos_embed": "cosine"}, "RoPE"),
        ({"pos_embed": "RoPE0"}, "RoPE"),
        ({"head_type": "linear", "output_mode": "pts3d"}, "descriptors"),
        ({"head_type": "linear"}, "'linear' predicts no descriptors"),
        ({"head_type": "dpt"}, "'dpt' predicts no descriptors"),
        ({"head_type": "catmlp+dpt", "dec_depth": 9}, "dec_depth > 9"),
        ({"conf_mode": None}, "conf_mode=None"),
        ({"conf_mode": None, "two_confs": True}, "desc_conf_mode"),
        ({"output_mode": "pts3d+desc"}, "output_mode"),
        ({"output_mode": "pts3d+desc0"}, "output_mode"),
        ({"depth_mode": ("exp", 0, math.inf)}, "bounds of depth_mode"),
        ({"depth_mode": ("cube", -math.inf, math.inf)}, "cube"),
        ({"depth_mode": None}, "depth_mode"),
        ({"conf_mode": "exp"}, "conf_mode"),
        ({"conf_mode": ("exp", 3, 1)}, "bounds"),
        ({"conf_mode": ("sigmoid", 0, math.inf)}, "bounds"),
        ({"desc_mode": "raw"}, "desc_mode"),
        ({"freeze": "everything"}, "freeze"),
        ({"patch_embed_cls": "PatchEmbed"}, "patch_embed_cls"),
        ({"img_size": (100, 64)}, "multiple"),
        ({"img_size": "big"}, "img_size"),
        ({"enc_num_heads": 5}, "multiple of 4"),
        ({"dec_depth": 0}, "dec_depth"),
        ({"two_confs": 1}, "two_confs"),
        ({"patch_size": 7, "img_size": (70, 70)}, "even patch_size"),
    ],
)
def test_refused(keywords: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError) as refusal:
        AsymmetricMASt3R(**{**MAST3R, **keywords})
    assert message in f"{refusal.value} {refusal.value.hint}"


def test_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="enc_dim") as refusal:
        AsymmetricMASt3R(**MAST3R, enc_dim=8)
    assert "enc_embed_dim" in str(refusal.value.hint) or "enc_depth" in str(refusal.value.hint)
    with pytest.raises(ConfigError, match="two_confs"):
        ModelConfig.from_expression("AsymmetricCroCo3DStereo(pos_embed='RoPE100', two_confs=True)")
    with pytest.raises(ConfigError, match="AsymmetricMASt3R2"):
        ModelConfig.from_expression("AsymmetricMASt3R2(pos_embed='RoPE100')")


def test_unknown_head_names_the_nearest() -> None:
    with pytest.raises(PluginError, match="catconf"):
        AsymmetricMASt3R(**{**MAST3R, "head_type": "catconf"})
