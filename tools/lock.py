"""Keep the committed ``uv.lock`` free of package registries' addresses.

``uv lock`` writes the address of every file. The committed form names files and hashes only; ``uv sync``
completes it again with the same versions.

    python tools/lock.py write    turn the working tree's uv.lock into the committed form
    python tools/lock.py check    is the committed uv.lock that of the completed one in the working tree?
    python tools/lock.py clean    the committed form of what comes on standard input (a git clean filter)
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"

_REGISTRY = re.compile(r'registry = "[a-z]+://[^"]*"')
_URL = re.compile(r'url = "[a-z]+://[^"]*/([^"/]+)"')


def committed_form(text: str) -> str:
    """Strip addresses, and the tables whose absence makes uv complete the file."""
    kept = []
    in_metadata = False
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            in_metadata = line.startswith("[package.metadata")
        if not in_metadata:
            kept.append(_URL.sub(r'path = "\1"', _REGISTRY.sub('registry = "pypi"', line)))
    return "".join(kept)


def write() -> int:
    """Rewrite the working tree's lock."""
    LOCK.write_text(committed_form(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def check() -> int:
    """Compare git's version with the working tree's, both in the committed form."""
    shown = subprocess.run(
        ["git", "show", f":{LOCK.name}"], cwd=LOCK.parent, capture_output=True, text=True, check=False
    )
    if shown.returncode != 0:
        sys.stderr.write(f"{LOCK.name} is not committed: {shown.stderr}")
        return 1
    if committed_form(shown.stdout) != shown.stdout:
        sys.stderr.write("the committed uv.lock holds addresses: run `python tools/lock.py write`\n")
        return 1
    if committed_form(LOCK.read_text(encoding="utf-8")) != shown.stdout:
        sys.stderr.write(
            "uv.lock is not current: run `uv lock`, `python tools/lock.py write`, and commit the result\n"
        )
        return 1
    return 0


def clean() -> int:
    """Filter standard input."""
    sys.stdout.write(committed_form(sys.stdin.read()))
    return 0


def main() -> int:
    """Run the command that is named."""
    commands = {"write": write, "check": check, "clean": clean}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.stderr.write(__doc__ or "")
        return 2
    return commands[sys.argv[1]]()


if __name__ == "__main__":
    sys.exit(main())
