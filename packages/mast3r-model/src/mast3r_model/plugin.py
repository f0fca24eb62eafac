"""What mast3r-model itself registers, through the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from .plugins import CommandSpec, hookimpl


@hookimpl
def mast3r_commands() -> Mapping[str, CommandSpec]:
    def command(target: str, help_line: str) -> CommandSpec:
        return CommandSpec(f"mast3r_model.cli.{target}", help_line, "Models and setup")

    return {
        "models list": command("models:list_models", "Checkpoints known by name."),
        "models info": command("models:info", "What a checkpoint holds."),
        "models download": command("models:download", "Fetch a checkpoint."),
        "models convert": command("models:convert", "Rewrite a checkpoint in another format."),
        "models path": command("models:path", "Where a checkpoint lies on disk."),
        "cache info": command("cache:info", "Downloaded checkpoints and their sizes."),
        "cache clear": command("cache:clear", "Delete downloaded checkpoints."),
        "plugins": command("plugins:plugins", "What is registered, and by whom."),
        "doctor": command("doctor:doctor", "Versions, devices, back ends, self-test."),
        "completion": command("completion:completion", "Shell completion script."),
    }


@hookimpl
def mast3r_heads() -> Mapping[str, str]:
    return {
        "linear": "mast3r_model.heads.linear:linear_heads",
        "dpt": "mast3r_model.heads.dpt:dpt_heads",
        "catmlp+dpt": "mast3r_model.heads.catmlp_dpt:catmlp_dpt_heads",
        "catconv": "mast3r_model.heads.catconv:catconv_heads",
        "nano": "mast3r_model.heads.nano:nano_heads",
    }


@hookimpl
def mast3r_models() -> Mapping[str, str]:
    official = {
        "MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric": "MAST3R_512_METRIC",
        "DUSt3R_ViTLarge_BaseDecoder_512_dpt": "DUST3R_512_DPT",
        "DUSt3R_ViTLarge_BaseDecoder_512_linear": "DUST3R_512_LINEAR",
        "DUSt3R_ViTLarge_BaseDecoder_224_linear": "DUST3R_224_LINEAR",
    }
    presets = {"nano": "NANO", **official}
    return {name: f"mast3r_model.checkpoints.presets:{constant}" for name, constant in presets.items()}
