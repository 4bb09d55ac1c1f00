"""An output folder as runs leave it."""

from tests.output_folder import out

__all__ = ["out"]
