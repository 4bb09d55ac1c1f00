"""Output spaces: spellings, and what is none."""

from __future__ import annotations

import pytest

from bids_harmony.exceptions import UsageError
from bids_harmony.imaging.reference import REFERENCE
from bids_harmony.settings.spaces import REFERENCE_SPACE, Space, check_spaces, read_space


@pytest.mark.parametrize(
    ("text", "space", "label"),
    [
        ("native", Space("native"), "native"),
        ("T1w", Space("T1w"), "T1w"),
        ("anat", Space("T1w"), "T1w"),
        ("MNI152NLin6Asym", Space("MNI152NLin6Asym"), "MNI152NLin6Asym"),
        (
            "MNI152NLin2009cAsym:res-2",
            Space("MNI152NLin2009cAsym", 2),
            "MNI152NLin2009cAsym_res-2",
        ),
        ("MNI152NLin6Asym:res-01", Space("MNI152NLin6Asym", 1), "MNI152NLin6Asym_res-1"),
    ],
)
def test_spellings(text, space, label):
    assert Space.of(text) == space and space.label == label
    assert Space.of(read_space(text)) == space


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fsaverage5", "none of the spaces"),
        ("func", "none of the spaces"),
        ("MNI152NLin2009cAsym:res-native", "res-1 or :res-2"),
        ("MNI152NLin2009cAsym:res-3", "res-1 or :res-2"),
        ("MNI152NLin2009cAsym:res-1:res-2", "res-1 or :res-2"),
        ("MNI152NLin2009cAsym:cohort-1", "res-1 or :res-2"),
        ("T1w:res-1", "only templates have a resolution"),
    ],
)
def test_what_is_no_space(text, told):
    with pytest.raises(ValueError, match=told):
        Space.of(text)
    with pytest.raises(UsageError, match=told):
        check_spaces("output_spaces", ("native", text))


def test_the_reference_has_one_name():
    assert REFERENCE_SPACE == REFERENCE
