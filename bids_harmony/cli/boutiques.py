"""The Boutiques descriptor (schema 0.5) of the program, made from its parser.

    python -m bids_harmony.cli.boutiques > boutiques.json

What the parser does not know, such as files that come out, stands here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bids_harmony import __version__
from bids_harmony.cli.parser import build_parser
from bids_harmony.exceptions import ExitCode
from bids_harmony.settings import LEVELS, Settings
from bids_harmony.settings.metadata import settings_of

__all__ = ["IMAGE", "descriptor", "main"]

# Of the release: descriptors are committed, and commits have versions of their own.
_RELEASE = __version__.partition(".post")[0]
#: The image that `docker build -t` made here; none is published, and no registry is asked for it.
IMAGE = f"localhost/bids_harmony:{_RELEASE}"
# Options that make no sense in a description of inputs.
_LEFT_OUT = ("help", "version")


def descriptor() -> dict[str, Any]:
    """The descriptor as JSON holds it."""
    parser = build_parser()
    inputs: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for action in parser._actions:
        if action.dest in _LEFT_OUT or action.help == argparse.SUPPRESS:
            continue
        own = list(_inputs(action))
        inputs += own
        if len(own) > 1:
            groups.append(
                {
                    "id": f"{own[0]['id']}_or_not",
                    "name": f"{own[0]['name']}, or not",
                    "members": [entry["id"] for entry in own],
                    "mutually-exclusive": True,
                }
            )
    return {
        "name": "bids_harmony",
        "tool-version": _RELEASE,
        "author": "The bids_harmony developers",
        "description": " ".join((parser.description or "").split()),
        "schema-version": "0.5",
        "command-line": " ".join(["bids_harmony", *(entry["value-key"] for entry in inputs)]),
        "container-image": {"type": "docker", "image": IMAGE},
        "inputs": inputs,
        "groups": groups,
        "output-files": [
            {
                "id": "derivative",
                "name": "Derivative dataset",
                "description": "Harmonized images, sidecars, tables and pages",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "error-codes": [
            {"code": int(code), "description": code.meaning}
            for code in ExitCode
            if code != ExitCode.DONE
        ],
        "suggested-resources": {"cpu-cores": 2, "ram": 4, "walltime-estimate": 1800},
        "tags": {"domain": ["neuroinformatics", "bids", "mri", "harmonization"]},
    }


def _inputs(action: argparse.Action) -> Iterator[dict[str, Any]]:
    """One input for an option; two for one that can be switched on and off."""
    flags = action.option_strings
    if not flags:
        yield _input(action, None) | _kind(action) | {"optional": False}
        return
    # The first long spelling is the one that documents use.
    flag = next((flag for flag in flags if flag.startswith("--")), flags[0])
    if isinstance(action, argparse.BooleanOptionalAction):
        for name in (flag, flag.replace("--", "--no-", 1)):
            yield _input(action, name) | {"type": "Flag", "optional": True}
        return
    yield _input(action, flag) | _kind(action) | {"optional": True}


def _input(action: argparse.Action, flag: str | None) -> dict[str, Any]:
    name = (flag or action.dest).lstrip("-").replace("-", "_")
    text = " ".join((action.help or "").split()) or name.replace("_", " ")
    entry = {"id": name, "name": name.replace("_", " "), "description": text}
    if flag:
        entry["command-line-flag"] = flag
    return entry | {"value-key": f"[{name.upper()}]"}


def _kind(action: argparse.Action) -> dict[str, Any]:
    if action.nargs == 0:
        return {"type": "Flag"}
    known = settings_of(Settings).get(action.dest)
    kind: dict[str, Any] = {"type": "String"}
    if action.type in (int, float):
        kind = {"type": "Number", "integer": action.type is int}
    elif action.type is Path and not (known and known.option.made):
        # Boutiques means by a file what is there before.
        kind = {"type": "File"}
    if action.dest == "analysis_level":
        kind["value-choices"] = list(LEVELS)
    elif action.choices:
        kind["value-choices"] = list(action.choices)
    elif isinstance(action.metavar, str) and re.fullmatch(r"\{[\w,-]+\}", action.metavar):
        # Read as something else than they are written.
        kind["value-choices"] = action.metavar[1:-1].split(",")
    if action.nargs in ("+", "*"):
        kind["list"] = True
    return kind


def main() -> int:
    """Print the descriptor."""
    json.dump(descriptor(), sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
