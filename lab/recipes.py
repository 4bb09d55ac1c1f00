"""Files for the places where people get BIDS Apps: Nipoppy, Neurodesk, conda.

    python -m lab.recipes

Everything that can change is taken from where it is told: the version from pyproject.toml, the
requirements from setup.cfg, the options from the parser. ``tests/test_recipes.py`` compares the
files with what this makes, and runs what can be run without the places themselves.

No image and no package of this program was published. So no file names one as if it could be
fetched: docs/ways.md says what has to be published first.
"""

from __future__ import annotations

import base64
import configparser
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

from bids_harmony.cli.boutiques import IMAGE, descriptor

__all__ = ["NAME", "ROOT", "conda_name", "files", "main", "requirements", "version"]

ROOT = Path(__file__).resolve().parents[1]
NAME = "bids_harmony"
#: Neurodesk allows no underscore in names.
NEURODESK_NAME = "bidsharmony"
#: Where conda-forge has another name than PyPI.
_CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "tomli-w": "tomli-w"}
#: Inputs of the descriptor that Nipoppy fills in or that suit every dataset.
_INVOCATION: dict[str, Any] = {
    "bids_dir": "[[NIPOPPY_DPATH_BIDS]]",
    "output_dir": "[[NIPOPPY_DPATH_PIPELINE_OUTPUT]]",
    "analysis_level": "participant",
    "participant_label": ["[[NIPOPPY_PARTICIPANT_ID]]"],
    "target_site": "[[TARGET_SITE]]",
    "work_dir": "[[NIPOPPY_DPATH_PIPELINE_WORK]]",
    "longitudinal": True,
    "nprocs": 2,
    "mem": "8G",
}
_GROUP = {
    "bids_dir": "[[NIPOPPY_DPATH_BIDS]]",
    "output_dir": "[[NIPOPPY_DPATH_PIPELINE_OUTPUT]]",
    "analysis_level": "group",
    "work_dir": "[[NIPOPPY_DPATH_PIPELINE_WORK]]",
}
_UNIT = "[[NIPOPPY_BIDS_PARTICIPANT_ID]]/[[NIPOPPY_BIDS_SESSION_ID]]"
_STEM = "[[NIPOPPY_BIDS_PARTICIPANT_ID]]_[[NIPOPPY_BIDS_SESSION_ID]]"
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
    '<circle cx="8" cy="12" r="6" fill="#4477aa"/><circle cx="16" cy="12" r="6" fill="#ee8866" '
    'fill-opacity=".8"/></svg>'
)


def version() -> str:
    """Of the release, as a build without tags has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["tool"]["setuptools_scm"]["fallback_version"])


def requirements() -> list[str]:
    """Lines of ``install_requires``, such as ``dipy >= 1.10``."""
    return _metadata()["options"]["install_requires"].strip().splitlines()


def _metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def conda_name(requirement: str) -> str:
    """A requirement as a conda recipe writes it: ``pytorch >=2.4``."""
    match = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement.strip())
    assert match is not None
    name = match[1].lower().replace("_", "-")
    return f"{_CONDA_NAMES.get(name, name)} {match[2].replace(' ', '')}".strip()


def files() -> dict[str, str]:
    """All files by their paths below the repository."""
    return {
        **{f"recipes/nipoppy/{name}": _json(record) for name, record in _nipoppy().items()},
        f"recipes/neurodesk/{NEURODESK_NAME}/build.yaml": _yaml(_neurodesk(), _UNPUBLISHED_PYPI),
        f"recipes/neurodesk/{NEURODESK_NAME}/fulltest.yaml": _yaml(_fulltest(), ""),
        "recipes/conda/meta.yaml": _conda(),
    }


def _json(record: Any) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _yaml(record: Any, comment: str) -> str:
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + text


def _nipoppy() -> dict[str, Any]:
    """A bundle: https://nipoppy.readthedocs.io, schema 1.0."""
    step = {
        "INVOCATION_FILE": "invocation.json",
        "DESCRIPTOR_FILE": "descriptor.json",
        "HPC_CONFIG_FILE": "hpc.json",
    }
    config = {
        "NAME": NAME,
        "VERSION": version(),
        "DESCRIPTION": "Harmonize T1w, T2w, FLAIR and diffusion scans between sites. No image is "
        "published: build it, see docs/ways.md, and put it where CONTAINER_INFO says.",
        # Without a URI nothing is fetched: an image of that name does not exist anywhere yet.
        "CONTAINER_INFO": {
            "FILE": "[[NIPOPPY_DPATH_CONTAINERS]]/[[PIPELINE_NAME]]_[[PIPELINE_VERSION]].sif"
        },
        "CONTAINER_CONFIG": {"ARGS": ["--cleanenv", "--writable-tmpfs"]},
        "VARIABLES": {"TARGET_SITE": "Site to which the scans are harmonized, or mean"},
        "STEPS": [
            # Of a whole person: sessions go through each other's T1w, and share a space.
            {
                "NAME": "harmonize",
                "ANALYSIS_LEVEL": "participant",
                **step,
                "TRACKER_CONFIG_FILE": "tracker.json",
            },
            {
                "NAME": "group",
                "ANALYSIS_LEVEL": "group",
                **step,
                "INVOCATION_FILE": "invocation-group.json",
                "TRACKER_CONFIG_FILE": "tracker-group.json",
            },
        ],
        "PIPELINE_TYPE": "processing",
        "SCHEMA_VERSION": "1.0",
    }
    return {
        "config.json": config,
        "descriptor.json": descriptor(),
        "invocation.json": _INVOCATION,
        "invocation-group.json": _GROUP,
        "tracker.json": {
            "PATHS": [
                f"{_UNIT}/anat/{_STEM}*_desc-harmonized*_T1w.nii.gz",
                f"{_UNIT}/anat/{_STEM}*_desc-harmonized*_T1w.json",
                f"{_UNIT}/anat/{_STEM}*_desc-brain_mask.nii.gz",
            ],
            "PARTICIPANT_SESSION_DIR": _UNIT,
            "SCHEMA_VERSION": "1.0",
        },
        "tracker-group.json": {"PATHS": ["group.html", "group.json"], "SCHEMA_VERSION": "1.0"},
        "hpc.json": {
            "ACCOUNT": "[[HPC_ACCOUNT_NAME]]",
            "TIME": "2:00:00",
            "CORES": str(_INVOCATION["nprocs"]),
            "MEMORY": _INVOCATION["mem"],
            "ARRAY_CONCURRENCY_LIMIT": "",
        },
    }


_UNPUBLISHED_PYPI = """\
PyPI has no bids_harmony yet. This builds once the release is there; until then it is a draft."""


def _neurodesk() -> dict[str, Any]:
    """A recipe of neurocontainers."""
    about = _metadata()["metadata"]
    return {
        "name": NEURODESK_NAME,
        "version": version(),
        "copyright": [{"license": about["license"]}],
        "architectures": ["x86_64"],
        "structured_readme": {
            "description": f"{about['description']}. Research software, not for diagnosis.",
            "example": f"{NAME} BIDS OUT participant --target-site SITE -w WORK\n"
            f"{NAME} BIDS OUT group",
            "documentation": "",
            "citation": "Zhu, Zhu, Pang and Qiu 2026, arXiv:2602.21536",
        },
        "build": {
            "kind": "neurodocker",
            "base-image": "python:3.11-slim-bookworm",
            "pkg-manager": "apt",
            "directives": [
                {
                    "run": [
                        "python -m venv /opt/bids_harmony",
                        "/opt/bids_harmony/bin/pip install --no-cache-dir --extra-index-url "
                        "https://download.pytorch.org/whl/cpu torch "
                        f"{NAME}=={{{{ context.version }}}}",
                    ]
                },
                {
                    "environment": {
                        "PATH": "/opt/bids_harmony/bin:$PATH",
                        "PYTHONNOUSERSITE": "1",
                        "NIPYPE_NO_ET": "1",
                        "MPLCONFIGDIR": "/tmp/bids_harmony/matplotlib",
                        "DIPY_HOME": "/tmp/bids_harmony/dipy",
                    }
                },
                {"deploy": {"bins": [NAME], "path": ["/opt/bids_harmony/bin"]}},
            ],
        },
        "categories": ["structural imaging", "diffusion imaging", "bids apps"],
        "icon": "data:image/svg+xml;base64," + base64.b64encode(_ICON.encode()).decode(),
    }


def _fulltest() -> dict[str, Any]:
    """What Neurodesk runs in the finished image; no data is fetched."""
    return {
        "name": NEURODESK_NAME,
        "version": version(),
        "test_data": {"output_dir": "test_output"},
        # The last test harmonizes simulated people.
        "default_timeout": 900,
        "setup": {"script": "#!/usr/bin/env bash\nset -e\nmkdir -p ${output_dir}\n"},
        "tests": [
            {
                "name": "version",
                "description": "The program starts and tells its version",
                "command": f"{NAME} --version",
                "expected_output_contains": f"{NAME} {version()}",
            },
            {
                "name": "help",
                "description": "Every option is listed",
                "command": f"{NAME} --help",
                "expected_output_contains": ["--target-site", "--longitudinal", "--dry-run"],
            },
            {
                "name": "a folder that is no dataset",
                "description": "Exit code of the BIDS execution specification",
                "command": f"mkdir -p ${{output_dir}}/empty && {NAME} ${{output_dir}}/empty "
                "${output_dir}/out participant --target-site A --dry-run",
                "expected_exit_code": 16,
            },
            {
                "name": "a flag of another BIDS App",
                "description": "Refused with a word on what to use",
                "command": f"{NAME} a b participant --target-site A --anat-only 2>&1",
                "expected_exit_code": 64,
                "expected_output_contains": "Use --modalities T1w T2w FLAIR",
            },
            {
                "name": "self-test",
                "description": "Simulated people are harmonized and compared with the truth",
                "command": "/opt/bids_harmony/bin/python -m bids_harmony.cli.selftest "
                "${output_dir}/self",
                "validate": [{"output_exists": "${output_dir}/self"}],
            },
        ],
    }


_CONDA = """\
# For conda-build. PyPI has no bids_harmony yet: publish the sdist there first, and put its sha256
# in. Requirements that conda-forge lacks need recipes of their own: docs/ways.md.
{{% set name = "bids_harmony" %}}
{{% set version = "{version}" %}}

package:
  name: {{{{ name|lower }}}}
  version: {{{{ version }}}}

source:
  url: https://pypi.org/packages/source/b/bids_harmony/bids_harmony-{{{{ version }}}}.tar.gz
  # sha256 of the published sdist

build:
  entry_points:
{entries}
  noarch: python
  script: {{{{ PYTHON }}}} -m pip install . -vv --no-deps --no-build-isolation
  number: 0

requirements:
  host:
    - python {python}
{host}
    - pip
  run:
    - python {python}
{run}

test:
  imports:
    - bids_harmony
  commands:
    - bids_harmony --help
    - python -m bids_harmony.cli.selftest self
    - pip check
  requires:
    - pip

about:
  summary: {summary}
  license: {license}
  license_file: LICENSE
"""


def _conda() -> str:
    data = _metadata()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    entries = data["options.entry_points"]["console_scripts"].strip().splitlines()

    def listed(lines: list[str], indent: int = 4) -> str:
        return "\n".join(f"{' ' * indent}- {line}" for line in lines)

    return _CONDA.format(
        version=version(),
        entries=listed(entries),
        python=data["options"]["python_requires"],
        host=listed([conda_name(one) for one in project["build-system"]["requires"]]),
        run=listed([conda_name(one) for one in requirements()]),
        summary=data["metadata"]["description"],
        license=data["metadata"]["license"],
    )


def main() -> int:
    """Write all files."""
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{len(files())} files; Boutiques' image: {IMAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
