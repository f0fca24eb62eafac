"""The command ``mast3r demo`` (spec 60 D7); what it does is in `mast3r_demo.demo_command`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mast3r_model.cli import CommandContext, ModelOptions, command, model_options, option, with_flags

from .limits import Limits
from .server_options import EVERYWHERE, FIRST_PORT, ServerOptions, parse_auth

EXAMPLES = [
    "mast3r demo",
    "mast3r demo --model naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric --port 8000 --open",
    "mast3r demo --local-network --auth me:secret --workdir /data/sessions",
]
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
FOLDER = click.Path(path_type=Path, file_okay=False)
POSITIVE = click.FloatRange(min=0, min_open=True)
COUNT = click.IntRange(min=1)
DEFAULTS = Limits()
GB, MB = 1 << 30, 1 << 20

_PAGE: list[Callable[..., Any]] = [
    option("--mapper", type=click.Choice(["sparse", "dense", "colmap", "glomap"]), default="sparse",
           section="Page", help="What the page is set to when it opens."),
    option("--retrieval", metavar="NAME|PATH", section="Page",
           help="Retrieval checkpoint: which photos look alike; if not given, the network itself says."),
    option("--image-size", type=click.IntRange(96, 1024), metavar="N", section="Page",
           show_default="512", help="What the page's image size is set to."),
    option("--examples", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
           section="Page", help="Example photos: a folder with one folder of photos for each example."),
    option("--colmap-mapper", type=click.Choice(["pycolmap", "glomap"]), default="pycolmap", section="Page",
           help="Which mapper --mapper colmap starts with: pycolmap's incremental one, or its global one."),
]  # fmt: skip
_NETWORK: list[Callable[..., Any]] = [
    option("--host", default="127.0.0.1", metavar="ADDRESS", section="Network",
           help="Where to listen; 127.0.0.1 is this machine only."),
    option("--local-network", is_flag=True, section="Network",
           help=f"The same as --host {EVERYWHERE}: every machine of your network may open the page."),
    option("--port", type=click.IntRange(1, 65535), metavar="N", section="Network",
           show_default=f"the first free one from {FIRST_PORT}", help="Where to listen."),
    option("--open", "open_browser", is_flag=True, section="Network", help="Open the page in the browser."),
    option("--auth", multiple=True, metavar="USER:PASSWORD", section="Network",
           help="Who may open the page; can be given several times."),
    option("--auth-file", type=FILE, metavar="FILE", section="Network",
           help="The same from a file: USER:PASSWORD on each line."),
    option("--share", is_flag=True, section="Network",
           help="Open gradio's tunnel to the internet; needs --auth."),
    option("--share-without-password", is_flag=True, section="Network", rare=True,
           help="With --share: let everybody in who has the address."),
    option("--root-path", metavar="PATH", section="Network", rare=True,
           help="Path under which a proxy shows the page."),
    option("--ssl-cert", type=FILE, metavar="FILE", section="Network", rare=True,
           help="Certificate (PEM), for https."),
    option("--ssl-key", type=FILE, metavar="FILE", section="Network", rare=True, help="Its key (PEM)."),
]  # fmt: skip
_FILES: list[Callable[..., Any]] = [
    option("--workdir", type=FOLDER, metavar="DIR", section="Files", show_default="a temporary one",
           help="Where the visitors' files are while they are needed."),
    option("--keep", is_flag=True, section="Files", help="Leave the sessions in --workdir at the end."),
    option("--keep-hours", type=POSITIVE, default=2.0, metavar="X", section="Files",
           help="A session that nobody has used for so long is deleted."),
    option("--disk-limit-gb", type=POSITIVE, default=20.0, metavar="X", section="Files",
           help="Above it, sessions are deleted, those unused for longest first."),
    option("--shared-cache", is_flag=True, section="Files", rare=True,
           help="Sessions share predictions. A visitor can then tell by the time whether another one had the "
           "same photo."),
    option("--preload", is_flag=True, section="Files", help="Load the network before listening."),
]  # fmt: skip
_LIMITS: list[Callable[..., Any]] = [
    option("--max-photos", type=COUNT, default=DEFAULTS.max_photos, metavar="N", section="Limits",
           help="Photos of a reconstruction."),
    option("--max-file-mb", type=POSITIVE, default=DEFAULTS.max_file_bytes / MB, metavar="X",
           section="Limits", help="Size of a photo."),
    option("--max-video-mb", type=POSITIVE, default=DEFAULTS.max_video_bytes / MB, metavar="X",
           section="Limits", help="Size of a video."),
    option("--max-pairs", type=COUNT, default=DEFAULTS.max_pairs, metavar="N", section="Limits",
           help="Pairs of a reconstruction."),
    option("--queue-size", type=COUNT, default=DEFAULTS.queue_size, metavar="N", section="Limits",
           help="Jobs that may wait; one runs at a time."),
    option("--time-limit", type=POSITIVE, default=DEFAULTS.seconds / 60, metavar="MINUTES", section="Limits",
           help="Of a job."),
]  # fmt: skip
_UPSTREAM: list[Callable[..., Any]] = [
    option("--server-name", hidden=True, help="Upstream's name of --host."),
    option("--server-port", type=click.IntRange(1, 65535), hidden=True, help="Upstream's name of --port."),
    option("--retrieval-model", hidden=True, help="Upstream's name of --retrieval."),
    option("--tmp-dir", type=FOLDER, hidden=True, help="Upstream's name of --workdir."),
    option("--gradio-delete-cache", type=click.IntRange(min=0), hidden=True,
           help="Upstream's: seconds of --keep-hours; 0: the default."),
    option("--silent", is_flag=True, negatable=False, hidden=True, help="Upstream's name of --quiet."),
    option("--glomap-bin", hidden=True, help="Upstream's: unused, pycolmap has the mapper in it."),
]  # fmt: skip


@command("demo", examples=EXAMPLES)
@with_flags([*_PAGE, *_NETWORK, *_FILES, *_LIMITS, *_UPSTREAM, model_options])
def demo(context: CommandContext, *, model: ModelOptions, **flags: Any) -> None:
    """The web page: photos to cameras, depth and points; matches; where a photo was taken.

    Listens on this machine only unless told otherwise. Photos stay on this machine and are deleted with the
    session. Ctrl-C ends it.
    """
    if flags["silent"]:
        context.console.verbosity = -1
    if flags["glomap_bin"]:
        context.note("--glomap-bin is not needed: pycolmap has the global mapper in it")
    options = options_from(flags, model)
    if context.console.verbosity < 0 and not options.quiet:
        options = replace(options, quiet=True)
    from .demo_command import run_demo

    run_demo(context, options)


def options_from(flags: dict[str, Any], model: ModelOptions) -> ServerOptions:
    """The flags, upstream's among them, as options.

    Raises:
        click.UsageError: one thing is said in two ways.
        ConfigError: what belongs together is not together.
        InputError: a user without a password.
    """
    host = _one("--host", flags["host"], "--server-name", flags["server_name"], "127.0.0.1")
    if flags["local_network"]:
        host = _one("--local-network", EVERYWHERE, "--host", host, "127.0.0.1", first_counts=True)
    seconds = flags["gradio_delete_cache"]
    mapper = flags["mapper"]
    if mapper == "colmap" and flags["colmap_mapper"] == "glomap":
        mapper = "glomap"
    return ServerOptions(
        model=model,
        retrieval=_one("--retrieval", flags["retrieval"], "--retrieval-model", flags["retrieval_model"]),
        mapper=mapper,
        image_size=flags["image_size"],
        host=host,
        port=_one("--port", flags["port"], "--server-port", flags["server_port"]),
        share=flags["share"],
        share_without_password=flags["share_without_password"],
        auth=parse_auth(flags["auth"], flags["auth_file"]),
        root_path=flags["root_path"],
        ssl_certificate=flags["ssl_cert"],
        ssl_key=flags["ssl_key"],
        workdir=_one("--workdir", flags["workdir"], "--tmp-dir", flags["tmp_dir"]),
        keep=flags["keep"],
        keep_hours=seconds / 3600 if seconds else flags["keep_hours"],
        shared_cache=flags["shared_cache"],
        limits=Limits(
            max_photos=flags["max_photos"],
            max_file_bytes=round(flags["max_file_mb"] * MB),
            max_video_bytes=round(flags["max_video_mb"] * MB),
            max_pairs=flags["max_pairs"],
            queue_size=flags["queue_size"],
            seconds=flags["time_limit"] * 60,
        ),
        disk_limit_bytes=round(flags["disk_limit_gb"] * GB),
        examples=flags["examples"],
        open_browser=flags["open_browser"],
        preload=flags["preload"],
    )


def _one(
    name: str, value: Any, other_name: str, other: Any, default: Any = None, *, first_counts: bool = False
) -> Any:
    """What was said in one of two ways.

    Raises:
        click.UsageError: both were said, and differ.
    """
    said = [given for given in (value, other) if given not in (None, default)]
    if len(said) == 2 and said[0] != said[1]:
        raise click.UsageError(f"{name} and {other_name} say two things: give one of them")
    return said[0] if said else default
