"""Take pip's settings of this machine along into a build, as one folder to be mounted at /mnt.

    pip config list | python containers/pip_settings.py FOLDER

Writes ``FOLDER/pip.conf``; local indexes and wheel folders are bound below FOLDER, read-only, and
a certificate is copied. Prints the local folders. Needs root and a mount namespace of its own.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

MOUNTED_AT = "/mnt"
KNOWN = frozenset(
    "index-url extra-index-url find-links no-index trusted-host proxy cert default-timeout timeout"
    " retries".split()
)


def main(folder: Path) -> None:
    settings: dict[str, str] = {}
    # What stands in the environment wins, as it does for pip.
    for line in sorted(filter(str.strip, sys.stdin), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = ast.literal_eval(value.strip())
    lines = ["[global]"]
    for name in sorted(KNOWN & settings.keys()):
        words = [_taken_along(word, folder) for word in settings[name].split()]
        lines.append(f"{name} = " + "\n    ".join(words))
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _taken_along(word: str, folder: Path) -> str:
    """The word as pip must read it inside; other than local paths stay as they are."""
    local = re.fullmatch(r"(file://)?(/.*)", word)
    if local is None:
        return word
    scheme, source = local[1] or "", Path(local[2])
    target = folder / str(len(list(folder.iterdir())))
    if not source.is_dir():
        shutil.copy(source, target)
        return f"{scheme}{MOUNTED_AT}/{target.name}"
    print(source)
    # An index links to files beside its own folder.
    below = "/simple" if source.name == "simple" else ""
    target.mkdir()
    bound = source.parent if below else source
    subprocess.run(["mount", "--bind", "-o", "ro", bound, target], check=True)
    return f"{scheme}{MOUNTED_AT}/{target.name}{below}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
