"""The table of methods: every one can be loaded, and only those that need a target ask for it."""

import pytest

from bids_harmony.exceptions import UsageError
from bids_harmony.methods.registry import METHOD_NEEDS, check_training_target
from bids_harmony.settings import METHODS


def test_the_settings_know_the_same_methods_and_the_default_comes_first():
    assert METHODS == tuple(METHOD_NEEDS) and METHODS[0] == "ihf"


def test_who_learns_from_twins_is_trained_for_a_target():
    for needs in METHOD_NEEDS.values():
        assert needs.trained or not (needs.supervised or needs.target_at_training)
        assert needs.target_at_training or not needs.supervised
    assert {name for name, needs in METHOD_NEEDS.items() if needs.supervised} == {"cgan", "simix"}


@pytest.mark.parametrize("method", METHOD_NEEDS)
def test_the_target_is_asked_for_where_it_is_needed(method):
    check_training_target(method, "COI")
    if method in ("ssimh", "cgan", "simix"):
        with pytest.raises(UsageError, match="--target-site"):
            check_training_target(method, None)
    else:
        check_training_target(method, None)
