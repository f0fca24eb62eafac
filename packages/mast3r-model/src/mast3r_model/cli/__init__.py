"""The ``mast3r`` program, and what a package needs to add a command to it.

A command is a function whose first argument is a ``CommandContext``::

    # my_package/cli.py
    from pathlib import Path
    from mast3r_model.cli import (
        CommandContext, ModelOptions, argument, command, model_options, option, output_option,
    )

    @command("hello", examples=["mast3r hello a.jpg b.jpg -o hello.json", "mast3r hello photos/*.jpg --json"])
    @argument("photos", nargs=-1, required=True, type=Path, help="Photos to greet.")
    @option("--loudness", default=1.0, section="Quality", help="How loud.")
    @output_option(help="Where to write the greetings.")
    @model_options
    def hello(context: CommandContext, photos, loudness, output, overwrite, model: ModelOptions) -> None:
        '''Greet photos, one line of what the command is for.'''
        import my_package.greeting                        # heavy imports stand inside the function

        with model.session():                             # --threads, --seed
            network = model.load(context)                 # --model, --device, --dtype, --offline
            for photo in context.track(photos, "greeting"):
                ...
        context.say(f"{len(photos)} photos greeted")      # for people, on stdout
        context.result(count=len(photos), output=output)  # for --json
        context.note(f"next: mast3r match {photos[0]} ...")

    # my_package/plugin.py
    @hookimpl
    def mast3r_commands():
        return {"hello": CommandSpec("my_package.cli:hello", "Greet photos.", "Match")}

    # my_package/__main__.py: `python -m my_package` is the same command
    sys.exit(run(hello, program="python -m my_package"))

The common options (``-q -v --color --progress --log-file --json --config --show-config``), the variables
``MAST3R_<COMMAND>_<OPTION>``, settings files, exit codes, one-line errors and the JSON document come by
themselves. Raise ``Mast3rError`` for the user's errors; ``context.partial(...)`` for exit code 3;
``NothingFoundError`` for 4. See docs/cli.md. Source: spec 60 part F.
"""

from .command import Command, command
from .completing import complete_dataset, complete_model, complete_names
from .console import Console
from .context import CommandContext
from .documents import json_ready
from .options import ModelOptions, model_options, output_option, refuse_existing
from .parameters import Argument, Option, argument, option, with_flags
from .root import CommandGroup, main, root
from .run import run

__all__ = [
    "Argument",
    "Command",
    "CommandContext",
    "CommandGroup",
    "Console",
    "ModelOptions",
    "Option",
    "argument",
    "command",
    "complete_dataset",
    "complete_model",
    "complete_names",
    "json_ready",
    "main",
    "model_options",
    "option",
    "output_option",
    "refuse_existing",
    "root",
    "run",
    "with_flags",
]
