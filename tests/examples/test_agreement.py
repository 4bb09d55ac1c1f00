"""Plan and run agree: the same scans are refused, with the same code.

``AGREEMENT_DATASETS=200`` tries as many, which takes an hour; by default there are a few.
"""

from __future__ import annotations

import os

import pytest

from tests.examples.odd_datasets import make_odd, plan_of, run_of

N_DATASETS = int(os.environ.get("AGREEMENT_DATASETS", "4"))


# Numbers of datasets that once were in the way.
KEPT = (186,)


@pytest.mark.parametrize("number", [*range(N_DATASETS), *(n for n in KEPT if n >= N_DATASETS)])
def test_plan_and_run_agree(tmp_path, number):
    odd = make_odd(tmp_path, number)
    plan, run = plan_of(odd), run_of(odd)
    assert plan == run, f"{odd.told}\n{odd.words}\n{plan.text}\n{run.text}"
    assert "Traceback" not in plan.text + run.text
