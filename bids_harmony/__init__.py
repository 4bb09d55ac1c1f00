"""bids_harmony: a BIDS App that harmonizes brain MR images across scanner sites.

Research software, not for diagnosis.
"""

from pathlib import Path as _Path

__version__ = "0.1.0"
__all__ = ["__version__"]

# `workflows/` lies beside the package by the owner's wish and is installed as
# `bids_harmony.workflows`. In a plain checkout nothing has put it there, so the repository root
# joins the search path of sub-packages.
_checkout = _Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file() and (_checkout / "workflows" / "__init__.py").is_file():
    __path__.append(str(_checkout))
del _checkout, _Path
