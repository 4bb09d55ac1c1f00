"""bids_harmony: a BIDS App that harmonizes brain MR images across scanner sites.

In Python: `SiteProfile`, `Harmonizer`, `harmonize` and `simulate`. Research software, not for
diagnosis.
"""

from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from bids_harmony.api.harmonizer import Harmonizer
    from bids_harmony.api.one_scan import harmonize
    from bids_harmony.api.profile import SiteProfile
    from bids_harmony.api.simulation import simulate

__version__: str
__all__ = ["Harmonizer", "SiteProfile", "__version__", "harmonize", "simulate"]

# Imported when first asked for: the command line needs none of them, and `--help` must not wait.
_WHERE = {
    "Harmonizer": "harmonizer",
    "SiteProfile": "profile",
    "harmonize": "one_scan",
    "simulate": "simulation",
}

# `workflows/` lies beside the package by the owner's wish and is installed as
# `bids_harmony.workflows`. In a plain checkout nothing has put it there, so the repository root
# joins the search path of sub-packages.
_checkout = _Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file() and (_checkout / "workflows" / "__init__.py").is_file():
    __path__.append(str(_checkout))


def __getattr__(name: str) -> object:
    found: object
    if name == "__version__":
        found = _version()
    elif name in _WHERE:
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.api.{_WHERE[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def _version() -> str:
    """As it was installed, from the tag; in a plain checkout the release that it leads to."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:
        import tomllib

        settings = tomllib.loads((_checkout / "pyproject.toml").read_text(encoding="utf-8"))
        return str(settings["tool"]["setuptools_scm"]["fallback_version"])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
