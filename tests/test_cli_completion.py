"""What the shell offers for every option that takes a registered name (spec 60 F2)."""

from __future__ import annotations

import pytest

from mast3r_model.cli import root, run

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mast3r quick", ["quickstart"]),
        ("mast3r visloc lo", ["localize"]),
        ("mast3r match -m na", ["nano"]),
        ("mast3r models info DUSt3R_ViTLarge_BaseDecoder_2", ["DUSt3R_ViTLarge_BaseDecoder_224_linear"]),
        ("mast3r sfm photos --graph swin", ["swin-3", "swin-3-noncyclic"]),
        ("mast3r pairs photos --graph ret", ["retrieval-20-10"]),
        ("mast3r colmap photos --graph c", ["complete"]),
        ("mast3r sfm photos --export colmap,g", ["colmap,glb"]),
        ("mast3r export scene --format nerf", ["nerfstudio"]),
        ("mast3r sfm photos --engine mu", ["multi-gpu"]),
        ("mast3r pairs photos --retrieval enc", ["encoder"]),
        ("mast3r sfm photos --mapper gl", ["glomap"]),
        ("mast3r sfm photos --solver l", ["lm"]),
        ("mast3r train --train-dataset Co", ["Co3d("]),
        ("mast3r train --pretrained na", ["nano"]),
        ("mast3r train --train-criterion ConfL", ["ConfLoss("]),
        ("mast3r data check Mega", ["MegaDepth("]),
        ("mast3r data pairs DL", ["DL3DV"]),
        ("mast3r data prepare co", ["co3d"]),
        ("mast3r evaluate pairs Syn", ["SyntheticScenes("]),
        ("mast3r plugins ex", ["exporters"]),
        ("mast3r completion z", ["zsh"]),
        ("mast3r match --max-m", ["--max-matches"]),
    ],
)  # fmt: skip
def test_names_are_offered(line: str, offered: list[str], monkeypatch: Patch, capsys: Capture) -> None:
    words = line.split()
    monkeypatch.setenv("_MAST3R_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", words[-1])
    assert run(root(), []) == 0
    found = [entry.partition(",")[2].partition("\t")[0] for entry in capsys.readouterr().out.splitlines()]
    assert [entry for entry in found if entry] == offered


def test_a_file_is_offered_where_no_name_fits(monkeypatch: Patch, capsys: Capture) -> None:
    monkeypatch.setenv("_MAST3R_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", "mast3r match -m my/")
    monkeypatch.setenv("COMP_CWORD", "my/")
    assert run(root(), []) == 0
    assert capsys.readouterr().out == "file,my/\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, capsys: Capture) -> None:
    assert run(root(), ["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_MAST3R_COMPLETE={shell}_complete" in script
    assert "mast3r" in script
