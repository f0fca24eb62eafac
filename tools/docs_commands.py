"""Pages of the command line reference, made from the commands themselves while the site is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from mast3r_model.cli.catalog import section_rank
from mast3r_model.cli.command import common_options
from mast3r_model.cli.root import all_commands, root
from mast3r_model.plugins import CommandSpec

FOLDER = "reference/cli"
COMMON = "../../cli.md#what-all-commands-have-in-common"
_SHARED = {"--help", "--help-all"}.union(*(option.opts for option in common_options()))


def command_pages() -> dict[str, str]:
    """Every page of the reference: its place in the site, and its Markdown."""
    group = root()
    context = click.Context(group, info_name="mast3r")
    pages = {f"{FOLDER}/index.md": _overview()}
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        pages[f"{FOLDER}/{word}.md"] = "\n".join(_described(command, word, context, level=1)) + "\n"
    return pages


def _overview() -> str:
    lines = [
        "# Commands",
        "",
        "Made from the program itself. `mast3r COMMAND --help` says the same; "
        f"[The mast3r command]({COMMON}) says what all have in common.",
        "",
    ]
    sections: dict[str, list[str]] = {}
    for name, entry in sorted(all_commands().items(), key=lambda item: (section_rank(item[1]), item[0])):
        if isinstance(entry, CommandSpec):
            page, _, rest = name.partition(" ")
            anchor = f"#mast3r-{name.replace(' ', '-')}" if rest else ""
            row = f"| [`mast3r {name}`]({page}.md{anchor}) | {_cell(entry.help)} |"
            sections.setdefault(entry.section, []).append(row)
    for heading, rows in sections.items():
        lines += [f"## {heading}", "", "| command | for |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _described(command: click.Command, name: str, parent: click.Context, level: int) -> Iterator[str]:
    """A command's part of a page: what it is for, its call, its options, the commands below it."""
    settings = command.context_settings
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield f"{'#' * level} mast3r {name}"
    yield ""
    if command.help:
        yield _cell(inspect.cleandoc(command.help).partition("\f")[0])
        yield ""
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            if below is not None and not below.hidden:
                yield from _described(below, f"{name} {word}", context, min(level + 1, 4))
        return
    yield from _fenced(f"mast3r {name} {' '.join(command.collect_usage_pieces(context))}")
    yield from _parameters(command, context)
    examples = getattr(command, "examples", ())
    if examples:
        yield "**Examples**"
        yield ""
        yield from _fenced(*examples)


def _parameters(command: click.Command, context: click.Context) -> Iterator[str]:
    sections: dict[str, list[str]] = {}
    hidden: list[str] = []
    for parameter in command.get_params(context):
        section = getattr(parameter, "section", "Options")
        if isinstance(parameter, click.Option) and parameter.hidden:
            hidden += [spelling for spelling in parameter.opts if spelling.startswith("--")]
        elif not _SHARED.intersection(parameter.opts):
            sections.setdefault(section, []).append(_row(parameter, context))
    for heading, rows in sections.items():
        yield f"**{heading}**"
        yield ""
        yield from ["| | default | |", "|---|---|---|", *rows, ""]
    if hidden:
        yield "Also understood: " + ", ".join(f"`{spelling}`" for spelling in hidden) + "."
        yield ""
    if any(getattr(parameter, "section", "") == "Common" for parameter in command.params):
        yield f"Besides, the [options of all commands]({COMMON})."
        yield ""


def _row(parameter: click.Parameter, context: click.Context) -> str:
    if not isinstance(parameter, click.Option):
        metavar = parameter.make_metavar(context)
        return f"| `{metavar}` | | {_cell(getattr(parameter, 'description', ''))} |"
    record = parameter.get_help_record(context)
    assert record is not None
    extra = parameter.get_help_extra(context)
    notes = [f"`{name}` in the environment" for name in extra.get("envvars", ())]
    notes += [_cell(str(extra[name])) for name in ("range", "required") if name in extra]
    if getattr(parameter, "rare", False):
        notes.append("shown by `--help-all`")
    if isinstance(parameter.type, click.Choice) and parameter.metavar is None:
        notes.insert(0, "one of " + ", ".join(f"`{choice}`" for choice in parameter.type.choices))
    about = _cell(parameter.help or "") + (f" ({'; '.join(notes)})" if notes else "")
    default = f"`{extra['default']}`" if "default" in extra else ""
    return f"| {_spellings(record[0])} | {default} | {about} |"


def _spellings(text: str) -> str:
    """``-o, --output DIR`` with each spelling on its own line; choices are told elsewhere."""
    text = re.sub(r" \[[^\]]*\|[^\]]*\]$", "", text)
    return "<br>".join(f"`{part.strip()}`" for part in re.split(r",(?= -)| / ", text))


def _cell(text: str) -> str:
    """Words for a cell of a table: nothing in them is markup."""
    return re.sub(r"([*\[\]|])", r"\\\1", text.replace("<", "&lt;"))


def _fenced(*lines: str) -> Iterator[str]:
    yield from ["```sh", *lines, "```", ""]
