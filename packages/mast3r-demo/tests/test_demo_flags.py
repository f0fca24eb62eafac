"""The flags of ``mast3r demo`` are those of spec 60 D7, and upstream's spellings work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from mast3r_demo.cli import demo, options_from
from mast3r_demo.limits import Limits
from mast3r_demo.server_options import ServerOptions, parse_auth
from mast3r_model import ConfigError, InputError
from mast3r_model.cli import ModelOptions

# flag, default, upstream's spelling
D7: list[tuple[str, Any, str | None]] = [
    ("--model", "nano", "--weights"),
    ("--model", "nano", "--model-name"),
    ("--retrieval", None, "--retrieval-model"),
    ("--mapper", "sparse", None),
    ("--image-size", None, "--image-size"),
    ("--device", "auto", "--device"),
    ("--dtype", "auto", None),
    ("--host", "127.0.0.1", "--server-name"),
    ("--local-network", False, "--local-network"),
    ("--port", None, "--server-port"),
    ("--share", False, "--share"),
    ("--share-without-password", False, None),
    ("--auth", None, None),
    ("--auth-file", None, None),
    ("--root-path", None, None),
    ("--ssl-cert", None, None),
    ("--ssl-key", None, None),
    ("--workdir", None, "--tmp-dir"),
    ("--keep", False, None),
    ("--keep-hours", 2.0, "--gradio-delete-cache"),
    ("--max-photos", 100, None),
    ("--max-file-mb", 50.0, None),
    ("--max-video-mb", 500.0, None),
    ("--max-pairs", 2000, None),
    ("--disk-limit-gb", 20.0, None),
    ("--queue-size", 16, None),
    ("--time-limit", 30.0, None),
    ("--colmap-mapper", "pycolmap", None),
    ("--glomap-bin", None, "--glomap-bin"),
    ("--examples", None, None),
    ("--open", False, None),
    ("--preload", False, None),
    ("--quiet", False, "--silent"),
]


def _parameter(flag: str) -> click.Parameter:
    found = [parameter for parameter in demo.params if flag in parameter.opts]
    assert len(found) == 1, f"{flag} is not a flag of mast3r demo"
    return found[0]


@pytest.mark.parametrize(("flag", "default", "upstream"), D7)
def test_a_flag_of_the_table_exists(flag: str, default: object, upstream: str | None) -> None:
    parameter = _parameter(flag)
    value = parameter.get_default(click.Context(demo))
    assert (None if value in ((), None) or str(value).startswith("Sentinel") else value) == default
    if upstream is not None:
        assert _parameter(upstream).name


@pytest.mark.parametrize("flag", ["--weights", "--model-name", "--retrieval-model", "--server-name", "--server-port",
                                  "--tmp-dir", "--gradio-delete-cache", "--silent", "--glomap-bin"])  # fmt: skip
def test_upstreams_spellings_are_not_in_the_help(flag: str) -> None:
    parameter = _parameter(flag)
    assert isinstance(parameter, click.Option)
    assert parameter.hidden


def parsed(*words: str) -> ServerOptions:
    """Options of a command line."""
    with demo.make_context("demo", list(words)) as context:
        values = dict(context.params)
        values.pop("weights"), values.pop("model_name"), values.pop("model")
        return options_from(values, ModelOptions())


def test_what_nobody_says_is_safe() -> None:
    options = parsed()
    assert options.host == "127.0.0.1"
    assert options.only_this_machine
    assert not options.share
    assert not options.shared_cache
    assert not options.keep
    assert options.limits == Limits()


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--server_name", "10.1.2.3"], "host", "10.1.2.3"),
        (["--local_network"], "host", "0.0.0.0"),
        (["--server_port", "8123"], "port", 8123),
        (["--tmp_dir", "some/where"], "workdir", Path("some/where")),
        (["--gradio_delete_cache", "7200"], "keep_hours", 2.0),
        (["--gradio_delete_cache", "1800"], "keep_hours", 0.5),
        (["--retrieval_model", "r.pth"], "retrieval", "r.pth"),
        (["--image_size", "224"], "image_size", 224),
        (["--mapper", "colmap", "--colmap-mapper", "glomap"], "mapper", "glomap"),
        (["--time-limit", "0.5"], "limits", Limits(seconds=30.0)),
        (["--max-file-mb", "1"], "limits", Limits(max_file_bytes=1 << 20)),
    ],
)
def test_a_flag_arrives(words: list[str], name: str, value: object) -> None:
    assert getattr(parsed(*words), name) == value


def test_one_thing_said_in_two_ways_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--port and --server-port"):
        parsed("--port", "1", "--server-port", "2")
    with pytest.raises(click.UsageError, match="--local-network and --host"):
        parsed("--local-network", "--host", "10.0.0.1")
    assert parsed("--port", "5", "--server-port", "5").port == 5


def test_the_tunnel_needs_a_password() -> None:
    with pytest.raises(ConfigError, match="--share"):
        parsed("--share")
    assert parsed("--share", "--auth", "me:secret").share
    assert not parsed("--share", "--share-without-password").only_this_machine


def test_halves_are_refused(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text("x")
    with pytest.raises(ConfigError, match="--ssl-key"):
        parsed("--ssl-cert", str(certificate))
    with pytest.raises(ConfigError, match="--workdir"):
        parsed("--keep")


def test_passwords_come_from_flags_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("# who may\nann:a:b\n\n bob:c\n")
    assert parse_auth(["me:secret"], file) == [("me", "secret"), ("ann", "a:b"), ("bob", "c")]
    for wrong in ("secret", "me:", ":secret"):
        with pytest.raises(InputError, match="USER:PASSWORD") as caught:
            parse_auth([wrong], None)
        assert "secret" not in str(caught.value), "messages land in logs"


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
                        ("::", False), ("192.168.1.5", False), ("example.org", False)]
)  # fmt: skip
def test_whether_others_can_reach_the_page(host: str, alone: bool) -> None:
    assert ServerOptions(host=host).only_this_machine is alone
