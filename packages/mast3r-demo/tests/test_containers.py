"""The container files: parsed and held against the command and the workspace; `run` with a docker that only listens.

No container engine is needed. What an engine would do in the build's one long step is done outside of one (slow).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from mast3r_demo.cli import demo

DOCKER = Path(__file__).resolve().parents[1] / "docker"
ROOT = DOCKER.parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))

pytestmark = pytest.mark.skipif(not DOCKER.is_dir(), reason="only in a checkout")


class Instruction(NamedTuple):
    word: str
    rest: str


def instructions() -> Iterator[Instruction]:
    """Of the Dockerfile: comments gone, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Instruction(word.upper(), rest.strip())


def stages() -> list[list[Instruction]]:
    """What stands before the first FROM, then each stage."""
    found: list[list[Instruction]] = [[]]
    for instruction in instructions():
        if instruction.word == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def only(stage: list[Instruction], word: str) -> str:
    (found,) = [instruction.rest for instruction in stage if instruction.word == word]
    return found


def environment(stage: list[Instruction]) -> dict[str, str]:
    words = " ".join(instruction.rest for instruction in stage if instruction.word == "ENV")
    return dict(pair.split("=", 1) for pair in words.split())


def demo_accepts(*words: str) -> dict[str, Any]:
    """The flags as `mast3r demo` understands them."""
    return demo.make_context("demo", list(words)).params


# ---- the Dockerfile


def test_there_is_a_build_and_a_final_stage_of_one_pinned_image() -> None:
    before, build, final = stages()
    image = only(before, "ARG").removeprefix("PYTHON_IMAGE=")
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", image)
    assert only(build, "FROM") == "${PYTHON_IMAGE} AS build"
    assert only(final, "FROM") == "${PYTHON_IMAGE} AS final"
    assert any(rest == "VARIANT=cpu" for word, rest in build if word == "ARG")


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    _, build, _ = stages()
    patterns = [
        line
        for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = [name for word, rest in build if word == "COPY" for name in rest.split()[:-1]]
    assert "packages" in copied
    assert "uv.lock" in copied
    for name in copied:
        assert (ROOT / name).exists()
        assert name in let_in


def test_nothing_that_a_package_needs_is_ignored() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    left_out = [line for line in lines if line and line[0] not in "#!" and line != "*"]
    assert all(pattern.startswith("**/") for pattern in left_out)
    names = [pattern.removeprefix("**/") for pattern in left_out]
    tracked = subprocess.run(
        ["git", "ls-files", "packages"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    needed = [path for path in tracked if path and "/tests/" not in path]
    lost = [path for path in needed if any(fnmatch(part, n) for part in path.split("/") for n in names)]
    assert len(needed) > 100
    assert not lost
    assert "tests" in names


def test_the_final_stage_takes_the_environment_and_installs_nothing() -> None:
    _, build, final = stages()
    place = environment(build)["UV_PROJECT_ENVIRONMENT"]
    assert only(final, "COPY") == f"--from=build {place} {place}"
    runs = " ".join(rest for word, rest in final if word == "RUN")
    assert not re.search(r"apt|pip|uv |gcc|build-essential|curl|wget", runs)
    assert environment(final)["PATH"].startswith(f"{place}/bin:")


def test_the_build_runs_the_install_script_with_the_variant() -> None:
    _, build, _ = stages()
    assert any(
        word == "RUN" and rest.endswith('sh packages/mast3r-demo/docker/install "${VARIANT}"')
        for word, rest in build
    )
    assert os.access(DOCKER / "install", os.X_OK)


def test_the_user_is_nobody_special_and_owns_the_data() -> None:
    _, _, final = stages()
    assert only(final, "USER") == "1000:1000"
    words = [instruction.word for instruction in final]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert "install -d -o mast3r -g mast3r -m 0750 /data /data/models /data/sessions" in only(final, "RUN")
    assert json.loads(only(final, "VOLUME")) == ["/data"]


def test_everything_that_is_written_at_run_time_lies_in_the_data() -> None:
    _, _, final = stages()
    variables = environment(final)
    for name in ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HOME"):
        assert (variables[name] + "/").startswith("/data/")
    assert variables["HF_HOME"] == "/data/models"


def test_the_entry_point_is_the_command_with_flags_that_it_has() -> None:
    _, _, final = stages()
    entry = json.loads(only(final, "ENTRYPOINT"))
    assert entry == ["mast3r", "demo", "--host", "0.0.0.0", "--workdir", "/data/sessions"]
    flags = demo_accepts(*entry[2:], *json.loads(only(final, "CMD")))
    assert flags["host"] == "0.0.0.0"
    assert flags["workdir"] == Path("/data/sessions")
    assert flags["port"] == int(only(final, "EXPOSE")) == 7860


def test_the_health_check_is_a_request_that_python_can_make() -> None:
    _, _, final = stages()
    check = only(final, "HEALTHCHECK")
    command = json.loads(check[check.index("CMD") + 3 :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "health check", "exec")
    assert "http://127.0.0.1:7860/" in command[2]


def test_no_image_is_whatever_is_latest() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    images += [rest.split("=", 1)[1] for word, rest in instructions() if rest.startswith("PYTHON_IMAGE=")]
    images += [service["image"] for service in COMPOSE["services"].values()]
    for image in images:
        assert image == "${PYTHON_IMAGE}" or re.search(r":(?!latest)[\w.-]+$", image)


# ---- compose.yaml


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_a_service_is_closed_but_for_its_data_and_its_port(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["profiles"] == [name]
    assert service["ports"] == ["127.0.0.1:7860:7860"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["shm_size"] == "1g"
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & set(service)
    assert service["volumes"] == ["data:/data", "models:/data/models"]
    assert {volume.split(":")[0] for volume in service["volumes"]} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_a_service_is_built_from_this_checkout(name: str) -> None:
    build = COMPOSE["services"][name]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DOCKER / "Dockerfile"
    assert build["args"] == {"VARIANT": name}


def test_only_the_gpu_service_reserves_a_gpu() -> None:
    cpu, cuda = (COMPOSE["services"][name] for name in ("cpu", "cuda"))
    (device,) = cuda["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in cpu


def test_the_variable_of_the_compose_file_chooses_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    (name, value), *rest = COMPOSE["services"]["cpu"]["environment"].items()
    assert not rest
    assert value == f"${{{name}:-nano}}"
    monkeypatch.delenv("MAST3R_MODEL", raising=False)
    monkeypatch.setenv(name, "naver/SomeModel")
    root = click.Context(click.Group("mast3r"), info_name="mast3r", auto_envvar_prefix="MAST3R")
    assert demo.make_context("demo", [], parent=root).params["model"] == "naver/SomeModel"


# ---- the two scripts


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    """Runs `run` with a docker that writes down its words; gives exit code, words, what was said."""
    tools = tmp_path / "bin"
    tools.mkdir()
    log = tmp_path / "asked"
    fake = tools / "docker"
    fake.write_text(
        '#!/bin/sh\n[ "$2" = version ] && exit ${FAKE_COMPOSE:-0}\nprintf "%s\\n" "$@" > ' + f'"{log}"\n'
    )
    fake.chmod(0o755)

    def call(*words: str, path: str | None = None, **variables: str) -> tuple[int, list[str], str]:
        log.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", str(DOCKER / "run"), *words],
            env={**os.environ, "PATH": path or f"{tools}:{os.environ['PATH']}", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = log.read_text().splitlines() if log.exists() else []
        return done.returncode, lines, done.stdout + done.stderr

    return call


def what_demo_gets(words: list[str], service: str) -> list[str]:
    return words[words.index(service, words.index("--publish")) + 1 :]


def test_scripts_have_no_mistakes() -> None:
    for name, shell in (("run", "bash"), ("install", "sh")):
        subprocess.run([shell, "-n", str(DOCKER / name)], check=True)
        assert os.access(DOCKER / name, os.X_OK)
    if (linter := shutil.which("shellcheck")) is not None:
        subprocess.run([linter, str(DOCKER / "run"), str(DOCKER / "install")], check=True)


def test_run_alone_builds_and_starts_the_cpu_page_for_this_machine(asked: Any) -> None:
    code, words, said = asked()
    assert code == 0
    file, profile = words[words.index("--file") + 1], words[words.index("--profile") + 1]
    assert Path(file) == DOCKER / "compose.yaml"
    assert profile == "cpu"
    assert words[words.index("--publish") + 1] == "127.0.0.1:7860:7860"
    assert "--build" in words
    assert what_demo_gets(words, "cpu") == ["--port", "7860"]
    assert "http://127.0.0.1:7860" in said
    assert "others" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["--with-cuda", "--model_name=MASt3R_X"],
        ["--with_cuda", "--model-name", "MASt3R_X"],
        ["--cuda", "--model", "naver/MASt3R_X"],
        ["-m", "naver/MASt3R_X", "--cuda"],
        ["--cuda", "--weights=naver/MASt3R_X"],
    ],
)
def test_run_knows_upstreams_spelling_and_ours(asked: Any, words: list[str]) -> None:
    code, got, _ = asked(*words)
    assert code == 0
    passed = what_demo_gets(got, "cuda")
    assert passed == ["--port", "7860", "--model", "naver/MASt3R_X"]
    assert demo_accepts(*passed)["model"] == "naver/MASt3R_X"


def test_run_gives_other_options_to_the_command(asked: Any) -> None:
    _, words, said = asked("--local_network", "--port=8000", "--auth", "me:a b", "--max-photos", "7")
    assert words[words.index("--publish") + 1] == "0.0.0.0:8000:7860"
    passed = what_demo_gets(words, "cpu")
    assert passed == ["--port", "7860", "--auth", "me:a b", "--max-photos", "7"]
    assert demo_accepts(*passed)["auth"] == ("me:a b",)
    assert "others can reach it" in said


def test_run_gives_everything_after_two_dashes_to_the_command(asked: Any) -> None:
    _, words, _ = asked("--no-build", "--", "--help")
    assert what_demo_gets(words, "cpu") == ["--port", "7860", "--help"]
    assert "--build" not in words


def test_run_mounts_a_checkpoint_of_this_machine(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "my weights.pth").touch()
    _, words, _ = asked("--weights", "my weights.pth")
    assert words[words.index("--volume") + 1] == f"{tmp_path}/my weights.pth:/weights/my weights.pth:ro"
    assert what_demo_gets(words, "cpu")[2:] == ["--model", "/weights/my weights.pth"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--model", "./none.pth"], 1, "no such file or folder"),
        (["--port", "seventy"], 2, "expects a port"),
        (["--port", "70000"], 2, "expects a port"),
        (["--model"], 2, "needs a value"),
        (["--model_name="], 2, "needs a value"),
    ],
)
def test_run_refuses_what_means_nothing(asked: Any, words: list[str], code: int, message: str) -> None:
    got, called, said = asked(*words)
    assert got == code
    assert not called
    assert message in said


def test_run_says_what_is_missing(asked: Any, tmp_path: Path) -> None:
    code, _, said = asked(FAKE_COMPOSE="1")
    assert code == 1
    assert "compose" in said
    empty = tmp_path / "empty"
    empty.mkdir()
    for tool in ("bash", "dirname", "cat"):
        (empty / tool).symlink_to(str(shutil.which(tool)))
    code, _, said = asked(path=str(empty))
    assert code == 1
    assert "docker is not installed" in said


def test_run_explains_itself_without_docker(asked: Any) -> None:
    code, called, said = asked("--help")
    assert code == 0
    assert not called
    for flag in ("--cuda", "--model-name NAME", "--local-network", "mast3r demo"):
        assert flag in said


@pytest.mark.parametrize("words", [[], ["gpu"]])
def test_install_takes_one_of_two_variants(words: list[str]) -> None:
    done = subprocess.run(
        ["sh", str(DOCKER / "install"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "expected cpu or cuda" in done.stderr


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_install_asks_uv_for_the_locked_versions(variant: str, tmp_path: Path) -> None:
    """What uv is asked for, with an uv that only writes it down."""
    log = tmp_path / "asked"
    fake = tmp_path / "uv"
    fake.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\n')
    fake.chmod(0o755)
    place = tmp_path / "environment"
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "UV_PROJECT_ENVIRONMENT": str(place)}
    subprocess.run(["sh", str(DOCKER / "install"), variant], env={**os.environ, **variables}, check=True)
    sync, *more = log.read_text().splitlines()
    lock = (ROOT / "uv.lock").read_text("utf-8")
    assert sync.startswith("sync --no-dev --no-editable --package mast3r-demo")
    skipped = re.findall(r"--no-install-package (\S+)", sync)
    locked = re.findall(r'^name = "(\S+)"$', lock, re.MULTILINE)
    assert set(skipped) <= set(locked)
    if variant == "cuda":
        assert skipped == ["triton"]
        assert not more
    else:
        gone = {name for name in locked if name.startswith(("nvidia-", "cuda-"))}
        assert {*gone, "triton", "torch"} == set(skipped)
        assert len(gone) > 10
        version = re.search(r'^name = "torch"\nversion = "(\S+)"$', lock, re.MULTILINE)
        assert version is not None
        assert more == [f"pip install --python {place} --no-deps --torch-backend cpu torch=={version[1]}"]


@pytest.mark.slow
def test_the_install_step_gives_a_command_that_works(tmp_path: Path) -> None:
    """The build's long step in a copy of the checkout, then what the container would run; needs uv and its cache."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    checkout, place = tmp_path / "src", tmp_path / "environment"
    checkout.mkdir()
    _, build, _ = stages()
    for name in (name for word, rest in build if word == "COPY" for name in rest.split()[:-1]):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("tests", "__pycache__", ".venv", "build", "dist")
            shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, checkout / name)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAST3R_", "PYTHON")) and name != "VIRTUAL_ENV"
    }
    variables = {**clean, "UV_PROJECT_ENVIRONMENT": str(place), "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        ["sh", "packages/mast3r-demo/docker/install", "cuda"],
        cwd=checkout,
        env={**variables, "UV_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    if "error sending request" in done.stderr or "offline" in done.stderr:
        pytest.skip("uv's cache lacks a package, and the registry is out of reach")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout)  # nothing may lead back to it

    def mast3r(*words: str) -> str:
        return subprocess.run(
            [str(place / "bin" / "mast3r"), *words],
            cwd=tmp_path,
            env={**clean, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert "--workdir" in mast3r("demo", "--help")
    assert json.loads(mast3r("doctor", "--json"))["result"]["self_test"]["state"] == "passed"
    told = json.loads(mast3r("quickstart", "--json", "--device", "cpu"))
    assert told["result"]["comparison"]["cameras"]["registered"] == 1
    assert not list(place.glob("lib/python3*/site-packages/triton"))
