"""``mast3r data list``: the datasets that expressions can name, and where their files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mast3r_model import InputError, registry
from mast3r_model.cli import CommandContext, command


@dataclass(frozen=True)
class ListedDataset:
    """A dataset's line in the list.

    Attributes:
        name: in expressions.
        plugin: who registers it.
        about: one line.
        folder: of its prepared files; None if it has none, or they are nowhere.
        prepare: the command that prepares them; None if there is none.
        state: "ready", "no files needed", or "not on this disk".
    """

    name: str
    plugin: str
    about: str
    folder: Path | None
    prepare: str | None
    state: str


@command("list", examples=["mast3r data list", "mast3r data list --jsonl"], items="datasets")
def list_command(context: CommandContext) -> None:
    """Datasets that expressions can name: what they are, where their files are, how to prepare them."""
    datasets = [_listed(name) for name in registry("datasets").names()]
    width = max(map(len, (dataset.name for dataset in datasets)), default=0)
    for dataset in datasets:
        context.item(dataset)
        context.say(f"{dataset.name:<{width}}  {dataset.about}")
        if dataset.folder is not None:
            context.say(f"{'':<{width}}  {dataset.state}: {dataset.folder}")
        else:
            how = f"; {dataset.prepare} --help" if dataset.prepare else ""
            context.say(f"{'':<{width}}  {dataset.state}{how}")
    context.note("next: mast3r data check \"NAME(split='train', resolution=(512, 384))\"")


def _listed(name: str) -> ListedDataset:
    from mast3r_train.datasets.roots import find_root

    known = registry("datasets")
    dataset = known[name]
    about = (getattr(dataset, "__doc__", None) or "").strip().partition("\n")[0].rstrip(":")
    usual: str | None = getattr(dataset, "default_folder", None)
    folder, prepare, state = None, None, "no files needed"
    if usual:
        preparation = usual.removesuffix("_processed")
        if preparation in registry("preprocessors"):
            prepare = f"mast3r data prepare {preparation}"
        try:
            folder = find_root(getattr(dataset, "names", ()) or (name,), None, usual)
            state = "ready"
        except InputError:
            state = "not on this disk"
    return ListedDataset(name, known.owner(name), about, folder, prepare, state)
