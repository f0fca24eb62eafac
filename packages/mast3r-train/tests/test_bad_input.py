"""What a user may get wrong on the command lines of datasets and training: one line each that says what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from mast3r_model import ModelConfig, save_pth
from mast3r_model.cli import run
from mast3r_train.cli import train_command
from mast3r_train.data_cli import check_command, prepare_group
from mast3r_train.preparing.pairs_cli import pairs_command

Told = tuple[int, list[str]]
"""Exit code, and the lines of stderr."""

OPTIONS = (
    "ROOT, resolution, transform, aug_crop, aug_swap, aug_monocular, aug_portrait_or_landscape, aug_rot90, "
    "n_corres, nneg, n_tentative_crops, seed, view_style, require_valid_corres, pre_crop"
)


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Told]:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAST3R_DATA_ROOT", raising=False)
    (tmp_path / "empty").mkdir()

    def call(command: object, *words: str) -> Told:
        code = run(command, list(words))
        return code, capsys.readouterr().err.splitlines()

    return call


@pytest.fixture
def train_words(toys: ModuleType) -> Callable[..., list[str]]:
    """Words of a short training run."""

    def words(**changed: str) -> list[str]:
        flags = {
            "model": toys.MODEL, "train_criterion": toys.CRITERION, "train_dataset": "ToyPairs(6)",
            "batch_size": "2", "epochs": "1", "num_workers": "0", "device": "cpu", "output_dir": "run",
        }  # fmt: skip
        return [word for name, value in {**flags, **changed}.items() for word in (f"--{name}", value)]

    return words


@pytest.mark.parametrize(
    ("expression", "error", "place", "hint"),
    [
        ("2 @ Co3dd()", "Co3dd is not known among the datasets, transforms", "Co3dd", "did you mean Co3d"),
        ("blendedmvs()", "blendedmvs is not known", "blendedmvs", "did you mean BlendedMVS?"),
        ("Co3d(transform=Jitter)", "Jitter is not known", "Jitter", "did you mean ColorJitter"),
        (
            "Co3d(ROOT='empty', splt='train', resolution=224)",
            "Co3d takes no argument splt",
            "'train'",
            "did you mean split? It takes split, mask_bg, " + OPTIONS,
        ),
        (
            "Habitat512(1_000, split='train', n_cores=4, resolution=224)",
            "Habitat512 takes no argument n_cores",
            "4",
            "did you mean n_corres? It takes n_corres, size, split, ROOT, ",
        ),
        (
            "Waymo(colour=1, resolution=224)",
            "Waymo takes no argument colour",
            "1",
            "it takes split, skip_unreadable, " + OPTIONS,
        ),
        (
            "TartanAir('x', resolution=224)",
            "TartanAir: too many positional arguments",
            "TartanAir",
            "it takes pairs_subset, split, " + OPTIONS,
        ),
        (
            "Co3d(resolution=224)",
            "Co3d: missing a required argument: 'split'",
            "Co3d",
            "it takes mask_bg, split, " + OPTIONS,
        ),
        ("Co3d(split='train'", "the expression cannot be read: '(' was never closed", "(", None),
        ("Co3d + 3", "+ does not combine the class Co3d (not called) and the number 3", "+", None),
    ],
)
def test_an_expression(
    expression: str, error: str, place: str, hint: str | None, told: Callable[..., Told]
) -> None:
    """The place is marked by a caret; names and arguments that there are are named, the nearest first."""
    code, lines = told(check_command, expression)
    assert code == 1
    assert lines[0].startswith(f"error: {error}")
    assert lines[1] == f"  {expression}"
    assert lines[2].strip() == "^"
    assert expression[len(lines[2]) - 3 :].startswith(place)
    assert lines[3:] == [] if hint is None else lines[3].startswith(f"hint: {hint}")
    assert len(lines) == 3 + (hint is not None)


def test_an_argument_of_a_loss(told: Callable[..., Told], train_words: Callable[..., list[str]]) -> None:
    wrong = "ConfLoss(Regr3D(L21, norm_mod='?avg_dis'), alpha=0.2)"
    code, lines = told(train_command, *train_words(train_criterion=wrong))
    assert (code, lines[0], lines[1]) == (1, "error: Regr3D takes no argument norm_mod", f"  {wrong}")
    assert lines[3].startswith("hint: did you mean norm_mode? It takes norm_mode, criterion, gt_scale, ")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("expression", "error", "hint"),
    [
        (
            "Co3d(split='train', resolution=224)",
            "Co3d: the data folder data/co3d_processed does not exist",
            "give ROOT='...' in the expression, --data_root Co3d=..., or set MAST3R_DATA_ROOT to the folder that "
            "holds co3d_processed",
        ),
        (
            "Co3d(ROOT='empty', split='train', resolution=224)",
            "Co3d: empty has no selected_seqs_train.json",
            "it must be the folder that `mast3r data prepare co3d` writes",
        ),
        (
            "ARKitScenes(ROOT='empty', split='test', resolution=224)",
            "ARKitScenes: empty has no Test/all_metadata.npz",
            "it must be the folder that `mast3r data prepare arkitscenes` writes",
        ),
        (
            "DL3DV(ROOT='empty', resolution=224)",
            "DL3DV: empty has no dl3dv_pairs.npz",
            "make it with: mast3r data pairs DL3DV --root empty",
        ),
        (
            "Co3d(ROOT='empty', split='val', resolution=224)",
            "Co3d has split='train' and 'test', got 'val'",
            None,
        ),
        (
            "Co3d(split='train', resolution=(384, 512))",
            "resolution is (width, height) with width >= height, or a list of those, got (384, 512)",
            "(512, 384) makes portrait samples of portrait photos by itself",
        ),
        (
            "Co3d(split='train', resolution=224, n_corres='all')",
            "n_corres is a number of correspondences, 0 or more, got 'all'",
            None,
        ),
        (
            "Co3d(split='train', resolution=224, seed='a')",
            "seed is a whole number, 0 or more, or None, got 'a'",
            None,
        ),
        ("Co3d(split='train', resolution=224, nneg='a')", "nneg is a share from 0 to 1, got 'a'", None),
        ("Co3d(split='train', resolution=224, aug_swap=0.5)", "aug_swap is True or False, got 0.5", None),
    ],
)
def test_a_folder_or_an_option(
    expression: str, error: str, hint: str | None, told: Callable[..., Told]
) -> None:
    lines = [f"error: {error}", *([] if hint is None else [f"hint: {hint}"])]
    assert told(check_command, expression) == (1, lines)


def test_a_folder_of_another_name(told: Callable[..., Told]) -> None:
    code, lines = told(check_command, "Co3d(split='train', resolution=224)", "--data_root", "Co3D=empty")
    assert code == 1
    assert lines[0] == "error: --data_root 'Co3D=empty': no dataset is called Co3D"
    assert lines[1].startswith("hint: did you mean Co3d")


@pytest.mark.parametrize(
    ("changed", "error", "hint"),
    [
        (
            {"batch_size": "8"},
            "has 6 pairs: not enough for one batch of 8 on 1 process(es)",
            "use a smaller --batch_size or more data",
        ),
        (
            {"accum_iter": "4"},
            "an epoch has 3 batches, and --accum_iter 4 of them make an update: nothing would be trained",
            "use a smaller --accum_iter or --batch_size, or more data",
        ),
        (
            {"test_dataset": "SyntheticScenes(4, resolution=[(48, 32), (64, 32)])"},
            "the test set SyntheticScenes(4 pairs, split=None, seed=0, resolutions=[48x32;64x32]) has 2 resolutions",
            "give a test set exactly one",
        ),
        (
            {"train_dataset": "ToyPairs(6) + SyntheticScenes(4, resolution=(64, 32))"},
            "the parts of a sum need the same resolutions: [(48, 32)] in ",
            None,
        ),
        ({"train_dataset": "0 @ ToyPairs(6)"}, "n @ dataset needs n > 0, got 0", None),
    ],
)
def test_data_that_do_not_fit(
    changed: dict[str, str],
    error: str,
    hint: str | None,
    told: Callable[..., Told],
    train_words: Callable[..., list[str]],
) -> None:
    code, lines = told(train_command, *train_words(**changed))
    assert code == 1
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1:] == ([] if hint is None else [f"hint: {hint}"])
    assert not Path("run").exists()


def test_a_batch_size_that_leaves_pairs_out(
    told: Callable[..., Told], train_words: Callable[..., list[str]]
) -> None:
    code, lines = told(train_command, *train_words(batch_size="4"), "--dry_run")
    assert code == 0
    assert "2 of the 6 training pairs fill no batch and are left out of every epoch" in lines
    code, lines = told(train_command, *train_words(batch_size="3"), "--dry_run")
    assert code == 0
    assert not any("fill no batch" in line for line in lines)


def test_a_checkpoint_of_another_architecture(
    told: Callable[..., Told], train_words: Callable[..., list[str]], toys: ModuleType
) -> None:
    wider = ModelConfig.from_expression(toys.MODEL.replace("enc_embed_dim=32", "enc_embed_dim=64"))
    save_pth(wider.build(), Path("wider.pth"))
    code, lines = told(train_command, *train_words(pretrained="wider.pth"))
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
    assert "wider.pth" in lines[0]
    assert "patch_embed.proj.weight is [64, 3, 16, 16], expected [32, 3, 16, 16]" in lines[0]


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("TartanAr", "no dataset is called 'TartanAr'", "did you mean TartanAir?"),
        ("Co3d", "Co3d does not read a pair file of ours: its pairs are published, or it needs none", None),
        ("TartanAir", "TartanAir: the data folder data/tartanair_processed does not exist", "give ROOT="),
    ],
)
def test_pairs_of_another_dataset(name: str, error: str, hint: str | None, told: Callable[..., Told]) -> None:
    code, lines = told(pairs_command, name)
    assert (code, lines[0]) == (1, f"error: {error}")
    assert len(lines) == 1 if hint is None else lines[1].startswith(f"hint: {hint}")


def test_what_is_prepared(told: Callable[..., Told]) -> None:
    code, lines = told(prepare_group, "c03d", "--raw", "empty", "--out", "out")
    assert code == 2
    assert "did you mean co3d?" in lines[1]
    for words, code, error in (
        (["--raw", "empty"], 2, "Missing option '--out'"),
        (["--raw", "nowhere", "--out", "out"], 2, "Directory 'nowhere' does not exist"),
        (["--raw", "empty", "--out", "empty/out"], 1, "lies in the raw folder, which is never written to"),
        (["--raw", "empty", "--out", "out"], 1, "Co3d: empty has no apple/set_lists"),
    ):
        found, lines = told(prepare_group, "co3d", *words)
        assert found == code, lines
        assert sum(error in line for line in lines) == 1, lines
    assert not Path("out").exists()
    assert not list(Path("empty").iterdir())


def test_as_a_program(tmp_path: Path) -> None:
    """The same lines, from a process: nothing else is said, nothing is written."""
    command = [sys.executable, "-m", "mast3r_train", "--train_dataset", "4 @ Co3dd(split='train')"]
    ended = subprocess.run(
        [*command, "--output_dir", "run"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[0] == "error: Co3dd is not known among the datasets, transforms"
    assert ended.stderr.splitlines()[2] == "      ^"
    assert len(ended.stderr.splitlines()) == 4
    assert not list(tmp_path.iterdir())
