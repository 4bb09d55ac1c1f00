"""What an installation is made of: hashes for the container, licences for its users.

    python containers/supply_chain.py lock      # containers/requirements.lock
    python containers/supply_chain.py licences  # docs/licences.md

Both walk the run-time requirements of setup.cfg through the packages that are installed here, at
the versions of constraints.txt; the lock also holds what the package is built with. The hashes are
those of the files that pip finds for this Python and this platform in the indexes it is configured
with; on another platform run it there. Installed with ``pip install --require-hashes --no-deps -r
containers/requirements.lock``, nothing that an index may have put in the place of a known file
gets in.
"""

from __future__ import annotations

import argparse
import configparser
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "containers" / "requirements.lock"
LICENCES = ROOT / "docs" / "licences.md"
_NAME = re.compile(r"^[A-Za-z0-9._-]+")
#: Longer texts are whole licences; their first line names them.
_LONGEST = 60


def runtime_packages(*, noddi: bool = True) -> list[Distribution]:
    """Packages that the program needs at run time; those of the extra ``noddi`` if asked."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    asked = config["options"]["install_requires"]
    if noddi:
        asked += config["options.extras_require"]["noddi"]
    return _with_needs(asked.splitlines())


def build_packages() -> list[Distribution]:
    """Packages that a wheel is built with."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return _with_needs(settings["build-system"]["requires"])


def _with_needs(asked: Iterable[str]) -> list[Distribution]:
    todo = [m[0] for line in asked if (m := _NAME.match(line.strip()))]
    found: dict[str, Distribution] = {}
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            # Of another platform or Python; what is needed here is installed here.
            continue
        needed = map(Requirement, found[name].requires or ())
        todo += [n.name for n in needed if n.marker is None or n.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found)]


def lock() -> str:
    """Requirements with hashes, in the words of pip; those of NODDI alone end with ``# noddi``."""
    always = {p.metadata["Name"] for p in (*runtime_packages(noddi=False), *build_packages())}
    packages = {p.metadata["Name"]: p for p in (*runtime_packages(), *build_packages())}
    wanted = "".join(f"{name}=={p.version}\n" for name, p in sorted(packages.items()))
    with tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder) / "asked.txt", Path(folder) / "report.json"
        asked.write_text(wanted)
        command = [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps",
            "--quiet", "--report", str(report), "-r", str(asked),
        ]  # fmt: skip
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        installs = json.loads(report.read_text())["install"]
    lines = [
        "# Run-time requirements with the hashes of their files, for CPython "
        f"{sys.version_info.major}.{sys.version_info.minor} on {sys.platform}.",
        "# Made by: python containers/supply_chain.py lock",
    ]
    for item in sorted(installs, key=lambda item: item["metadata"]["name"].lower()):
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        only = "" if name in always else "  # noddi"
        lines.append(f"{name}=={version} --hash=sha256:{digest}{only}")
    return "\n".join(lines) + "\n"


def licence_of(package: Distribution) -> str:
    """Licence as the package states it: expression, classifiers, or first line of its text."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::") and not text.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(sorted(set(classifiers)))
    stated = (metadata.get("License") or "").strip().splitlines()
    return stated[0][:_LONGEST] if stated else "not stated"


def licences() -> str:
    """Table of the packages and their licences, Markdown."""
    rows = [
        f"| {p.metadata['Name']} | {p.version} | {licence_of(p).replace('|', '/')} |"
        for p in runtime_packages()
    ]
    return (
        "# Licences of the packages that bids_harmony runs with\n\n"
        "As the packages state them; made by `python containers/supply_chain.py licences`.\n"
        "`dmri-amico` (extra `noddi`) is for research only, and its text travels with copies.\n\n"
        "| package | version | licence |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lock", "licences"))
    if parser.parse_args().what == "lock":
        LOCK.write_text(lock())
    else:
        LICENCES.write_text(licences())


if __name__ == "__main__":
    main()
