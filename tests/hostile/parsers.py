"""Every reader of files that come from outside, with sound files to begin from.

The property tests and `benchmarks/fuzz.py` share this table.
"""

from __future__ import annotations

from tests.hostile import image_parsers, model_parsers, output_parsers, text_parsers
from tests.hostile.parser import Parser

__all__ = ["PARSERS"]

PARSERS: dict[str, Parser] = {
    **image_parsers.PARSERS,
    **text_parsers.PARSERS,
    **model_parsers.PARSERS,
    **output_parsers.PARSERS,
}
