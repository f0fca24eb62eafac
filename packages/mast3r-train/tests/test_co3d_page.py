"""README, "From raw Co3D to a fine-tuned checkpoint": its commands, as a user types them, on a stand-in release."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .test_dataset_co3d import write_category

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def section() -> str:
    text = README.read_text(encoding="utf-8")
    found = re.search(r"^## From raw Co3D.*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def mast3r(command: str, folder: Path) -> str:
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "mast3r"
    done = subprocess.run(
        [sys.executable, "-m", "mast3r_model", *words[1:]], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def command_of(section: str, start: str) -> str:
    found = re.search(rf"^    ({re.escape(start)}(?:.*\\\n)*.*)$", section, re.MULTILINE)
    assert found is not None, start
    return found[1]


@pytest.mark.slow
def test_the_page_from_raw_data_to_a_network(section: str, tmp_path: Path) -> None:
    for category in ("apple", "ball"):
        write_category(tmp_path / "co3d_raw", category, {"110_1": 0.9, "112_3": 0.8}, kind="manyview_dev_0")
    prepare = command_of(section, "mast3r data prepare co3d").replace("--workers 8", "--workers 2")
    assert "18 frames made" in mast3r(prepare, tmp_path)
    check = command_of(section, "mast3r data check")
    assert "samples keep the contract" in mast3r(check, tmp_path)

    recipe = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    assert recipe is not None
    # A laptop takes minutes for it; the same words with less of everything.
    shorter = recipe[1].replace("500 @", "4 @").replace("20 @", "2 @").replace("epochs = 4", "epochs = 2")
    (tmp_path / "nano-co3d.toml").write_text(re.sub(r"n_corres=\d+", "n_corres=128", shorter))
    assert "done, 8 pairs" in mast3r(command_of(section, "mast3r train --recipe"), tmp_path)
    assert (tmp_path / "checkpoints/nano_co3d/curves.png").is_file()

    checkpoint = "checkpoints/nano_co3d/checkpoint-final.pth"
    evaluate = command_of(section, "mast3r evaluate pairs")
    evaluate = evaluate.replace("100 @", "2 @").replace("(512,384)", "(192,144)")
    evaluate = evaluate.replace("checkpoints/mast3r_demo/checkpoint-final.pth", checkpoint)
    assert "rotation" in mast3r(evaluate, tmp_path)
    photo = "data/co3d_subset_processed/apple/110_1/images/frame00000{}.jpg"
    match = command_of(section, "mast3r match").replace("left.jpg", photo.format(1))
    match = match.replace("right.jpg", photo.format(2))
    mast3r(match.replace("checkpoints/mast3r_demo/checkpoint-final.pth", checkpoint), tmp_path)
    assert (tmp_path / "matches.npz").is_file()


def test_the_page_trains_with_upstreams_words(section: str) -> None:
    from .published_commands import DEMO

    words = shlex.split(command_of(section, "mast3r train --nproc-per-node").replace("\\\n", " "))[4:]
    upstream = list(DEMO)
    # The only word that differs: a name on the hub in place of a downloaded file.
    upstream[upstream.index("--pretrained") + 1] = "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt"
    assert words == upstream
