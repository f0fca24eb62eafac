"""``mast3r data sky``: masks by a plugin, which the loaders then read (spec 41 section 15)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mast3r_model import ConfigError, InputError, PluginError, hookimpl
from mast3r_model.cli import root, run
from mast3r_model.plugins import temporary_plugin
from mast3r_train.conformance import assert_conforms
from mast3r_train.data_cli import prepare_group
from mast3r_train.datasets.blendedmvs import BlendedMVS
from mast3r_train.datasets.exr import write_exr
from mast3r_train.datasets.sky import sky_mask_path
from mast3r_train.preparing import run_preparation
from mast3r_train.preparing.sky import choose_segmenter, open_segmenter, plan_sky_masks, sky_segmenters

from .prepared_checks import run_mast3r, snapshot
from .standin_scenes import render_standin

SEQUENCE = "58cf4771d0dfad964149f8f1"


class SkyPlugin:
    """Segmenters by name; `loaded` counts how often one was opened."""

    def __init__(self, **segmenters: Callable[[Image.Image], Any]) -> None:
        self.segmenters = segmenters
        self.loaded = 0

    @hookimpl
    def mast3r_preprocessors(self) -> dict[str, Any]:
        return {f"sky-{name}": self._factory(segment) for name, segment in self.segmenters.items()}

    def _factory(self, segment: Callable[[Image.Image], Any]) -> Any:
        def factory() -> Callable[[Image.Image], Any]:
            self.loaded += 1
            return segment

        return factory


def upper_third(image: Image.Image) -> np.ndarray:
    mask = np.zeros(image.size[::-1], bool)
    mask[: image.height // 3] = True
    return mask


@pytest.fixture
def plugin() -> Iterator[SkyPlugin]:
    plugin = SkyPlugin(toy=upper_third)
    with temporary_plugin(plugin, "toy-sky"):
        yield plugin


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Two frames of BlendedMVS as they are prepared; nothing was measured in the sky and in some of the ground."""
    folder = tmp_path / "blendedmvs_processed" / SEQUENCE
    folder.mkdir(parents=True)
    for number, view in enumerate(render_standin(2, (96, 72))):
        depth = np.where(np.arange(96) > 80, 0, view.depth)
        write_exr(folder / f"{number:08d}.exr", depth)
        Image.fromarray(view.rgb).save(folder / f"{number:08d}.jpg")
        np.savez(
            folder / f"{number:08d}.npz",
            intrinsics=view.K,
            R_cam2world=view.cam2world[:3, :3],
            t_cam2world=view.cam2world[:3, 3],
        )
    names = [("seq_high", "u8"), ("seq_low", "u8"), ("img1", "i8"), ("img2", "i8"), ("score", "f4")]
    pair = (int(SEQUENCE[:8], 16), int(SEQUENCE[8:], 16), 0, 1, 1.0)
    np.save(folder.parent / "blendedmvs_pairs.npy", np.array([pair], dtype=names))
    return folder.parent


def command(*words: object) -> int:
    """The command in this process, where the toy plugin is."""
    return run(root(), [str(word) for word in ("data", "sky", *words)])


def test_the_command_writes_masks_that_the_loader_reads(
    prepared: Path, plugin: SkyPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("blendedmvs", "--root", prepared) == 0
    assert "2 masks made with sky-toy" in capsys.readouterr().out
    assert plugin.loaded == 1
    for number in range(2):
        mask = cv2.imread(str(prepared / SEQUENCE / f"{number:08d}.sky.png"), cv2.IMREAD_UNCHANGED)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, 255 * upper_third(Image.new("RGB", (96, 72))))
    dataset = BlendedMVS(mask_sky=True, ROOT=prepared, resolution=(96, 72), n_corres=32, seed=0)
    plain = BlendedMVS(ROOT=prepared, resolution=(96, 72), n_corres=32, seed=0)
    for view, without in zip(dataset[0], plain[0], strict=True):
        expected = upper_third(Image.new("RGB", (96, 72))) & (without["depthmap"] == 0)
        assert expected.any()
        np.testing.assert_array_equal(view["sky_mask"], expected)
    assert_conforms(dataset)


def test_only_photos_without_a_mask_are_done_and_broken_ones_are_named(
    prepared: Path, plugin: SkyPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("blendedmvs", "--root", prepared) == 0
    before = snapshot(prepared)
    sky_mask_path(prepared / SEQUENCE / "00000001.jpg").unlink()
    assert command("blendedmvs", "--root", prepared) == 0
    after = snapshot(prepared)
    assert {name for name in after if after[name] != before[name]} == {f"{SEQUENCE}/00000001.sky.png"}
    (prepared / SEQUENCE / "00000002.jpg").write_bytes(b"no photo")
    capsys.readouterr()
    assert command("blendedmvs", "--root", prepared) == 3
    assert "00000002.jpg" in capsys.readouterr().err


def test_the_usual_place_is_found(
    prepared: Path, plugin: SkyPlugin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAST3R_DATA_ROOT", str(prepared.parent))
    assert command("blendedmvs") == 0
    assert command("megadepth") == 1
    assert "megadepth_processed does not exist" in capsys.readouterr().err


def test_without_a_plugin_the_command_says_how_to_get_one(prepared: Path) -> None:
    assert sky_segmenters() == []
    done = run_mast3r("data", "sky", "blendedmvs", "--root", prepared)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: no plugin that finds the sky is installed, and mast3r ships none",
        "hint: a package gives one as a preprocessor named 'sky-...'; see docs/plugins.md",
    ]
    assert not list(prepared.rglob("*.sky.png"))


def test_one_of_several_is_named(prepared: Path) -> None:
    plugin = SkyPlugin(upper=upper_third, nothing=lambda image: np.zeros(image.size[::-1], np.uint8))
    with temporary_plugin(plugin, "two-skies"):
        with pytest.raises(ConfigError, match="several plugins find the sky: sky-nothing, sky-upper"):
            choose_segmenter(None)
        assert choose_segmenter("upper") == choose_segmenter("sky-upper") == "sky-upper"
        with pytest.raises(PluginError, match="no plugin gives 'sky-other'"):
            choose_segmenter("other")
        assert command("blendedmvs", "--root", prepared, "--using", "nothing") == 0
        mask = cv2.imread(str(prepared / SEQUENCE / "00000000.sky.png"), cv2.IMREAD_UNCHANGED)
        assert not mask.any()


@pytest.mark.parametrize(
    "mask",
    [np.zeros((96, 72), bool), np.zeros((72, 96), np.float32), np.zeros((72, 96, 3), np.uint8), None],
)
def test_what_is_no_mask_is_refused(prepared: Path, mask: Any) -> None:
    with temporary_plugin(SkyPlugin(bad=lambda image: mask), "bad-sky"):
        report = run_preparation(plan_sky_masks(prepared, "sky-bad"))
    assert len(report.failed) == 2
    assert all("'sky-bad' of the plugin 'bad-sky' returned" in problem for problem in report.failed.values())
    assert not list(prepared.rglob("*.sky.png"))


def test_a_plugin_that_gives_no_segmenter_is_named() -> None:
    plugin = SkyPlugin(bad="text")  # type: ignore[arg-type]
    expected = "'sky-bad' of the plugin 'bad-sky': expected a function"
    with temporary_plugin(plugin, "bad-sky"), pytest.raises(PluginError, match=expected):
        open_segmenter("sky-bad")


def test_values_from_127_on_are_sky(prepared: Path) -> None:
    ramp = np.tile(np.arange(96, dtype=np.uint8) * 2, (72, 1))
    with temporary_plugin(SkyPlugin(ramp=lambda image: ramp), "ramp-sky"):
        assert run_preparation(plan_sky_masks(prepared, "sky-ramp")).complete
    mask = cv2.imread(str(prepared / SEQUENCE / "00000000.sky.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, ramp >= 127)


def test_folders_without_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no photos"):
        plan_sky_masks(tmp_path, "sky-toy")


def test_segmenters_are_no_datasets_to_prepare(plugin: SkyPlugin) -> None:
    import click

    names = prepare_group.list_commands(click.Context(prepare_group))
    assert "blendedmvs" in names
    assert "sky-toy" not in names
    assert prepare_group.get_command(click.Context(prepare_group), "sky-toy") is None
