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

__version__ = "0.1.0"
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
del _checkout, _Path


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.api.{_WHERE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
