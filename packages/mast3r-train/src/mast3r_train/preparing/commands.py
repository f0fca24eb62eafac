"""``mast3r data prepare NAME``: one command per dataset, all alike (spec 41 section 0)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mast3r_model import InputError
from mast3r_model.cli import Command, CommandContext, command, option

from .framework import Preparation, PrepareReport, PrepareRequest, run_preparation

Plan = Callable[[PrepareRequest], Preparation]
Decorator = Callable[[Callable[..., None]], Callable[..., None]]

NAMED_AT_MOST = 10
"""How many failed frames or missing files are listed by name."""


def prepare_command(
    name: str,
    plan: Plan,
    *,
    help: str,
    raw: str = "Folder of the public release.",
    pairs: str | None = None,
    options: Sequence[Decorator] = (),
    example: str = "",
) -> Command:
    """The command that prepares one dataset.

    Args:
        name: the dataset's name on the command line.
        plan: makes the plan; raises `InputError` if the raw folder is not laid out as expected, with the
            file that was looked for.
        help: one sentence: from which release to which folder.
        raw: what ``--raw`` is for this dataset, one sentence.
        pairs: what ``--pairs`` is for this dataset; None: it has no such option.
        options: further options, each made by `mast3r_model.cli.option`; their values are in
            `PrepareRequest.options`.
        example: words that the example needs besides.
    """

    def run(context: CommandContext, raw: Path, out: Path, workers: int, **more: Any) -> None:
        request = PrepareRequest(raw, out, more.pop("pairs", None), workers, more)
        _check_folders(request)

        def track(results: Iterable[Any], total: int) -> Iterable[Any]:
            return context.track(results, f"preparing {name}", total)

        with context.timed("prepare"):
            report = run_preparation(plan(request), workers=workers, track=track)
        _say(context, report, out)

    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    decorators: list[Decorator] = [
        option("--raw", type=folder, required=True, section="Data", help=raw),
        option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            required=True,
            section="Data",
            help="Folder to write; finished frames in it are kept.",
        ),
    ]
    if pairs is not None:
        readable = click.Path(exists=True, path_type=Path)
        decorators.append(option("--pairs", type=readable, required=True, section="Data", help=pairs))
    decorators.append(
        option(
            "--workers",
            type=click.IntRange(min=1),
            default=1,
            section="Data",
            help="Processes that work at the same time.",
        )
    )
    function: Callable[..., None] = run
    for decorator in reversed([*decorators, *options]):
        function = decorator(function)
    with_pairs = " --pairs PAIRS" if pairs is not None else ""
    words = f"mast3r data prepare {name} --raw RAW{with_pairs} --out data/{name}_processed --workers 8"
    again = f"mast3r data prepare {name} --raw RAW{with_pairs} --out data/{name}_processed -q --json"
    return command(name, examples=(f"{words} {example}".rstrip(), again), help=help)(function)


def _check_folders(request: PrepareRequest) -> None:
    out = request.out.resolve()
    for source in (request.raw, *request.options.values()):
        if isinstance(source, Path) and (out == source.resolve() or source.resolve() in out.parents):
            what = "the raw folder" if source == request.raw else f"{source}"
            raise InputError(f"--out {request.out} lies in {what}, which is never written to")


def _say(context: CommandContext, report: PrepareReport, out: Path) -> None:
    context.result(
        out=out,
        made=report.made,
        kept=report.kept,
        failed=dict(report.failed),
        missing=list(report.missing),
    )
    context.say(f"{report.made:,} frames made, {report.kept:,} were there: {out}")
    if report.failed:
        context.partial(f"{len(report.failed):,} frames could not be made: {_some(list(report.failed))}")
    if report.missing:
        context.partial(
            f"files that the loader will look for and that are missing, {len(report.missing):,}: "
            f"{_some(report.missing)}"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_AT_MOST])
    return shown if len(names) <= NAMED_AT_MOST else f"{shown}, ... "
