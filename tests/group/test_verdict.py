"""Answers at the top of the group page: are people still different?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_harmony.group.verdict import answers


def table(factor, people=8):
    """Two sites of people who differ by 3 %; harmonization multiplies their deviations."""
    rng = np.random.default_rng(4)
    rows = []
    for site, contrast in (("A", 0.6), ("B", 0.7), ("COI", 0.5)):
        for _ in range(people):
            own = 0.03 * rng.standard_normal()
            rows.append(
                {
                    "site": site,
                    "target_site": "COI",
                    "gm_wm_source": contrast * np.exp(own),
                    "gm_wm_harmonized": 0.5 * np.exp(factor * own),
                }
            )
    return pd.DataFrame(rows)


def verdict(found):
    (answer,) = [a for a in answers([], [], [], [], found) if "still differ" in a.question]
    return answer


@pytest.mark.parametrize(("factor", "said"), [(1.0, "yes"), (1.8, "yes"), (0.2, "no")])
def test_a_method_that_levels_people_is_told(factor, said):
    found = verdict(table(factor))
    assert found.answer == said
    assert ("levelled" in found.words) == (said == "no")
    spread = np.log(table(1.0).query("site != 'COI'").gm_wm_source)
    within = spread - spread.groupby(table(1.0).query("site != 'COI'").site).transform("mean")
    assert f"{np.sqrt(np.square(within).sum() / 14):.1%}" in found.words


def test_a_few_scans_or_missing_numbers_say_nothing():
    assert verdict(table(0.2, people=2)).answer == "cannot tell"
    holes = table(1.0)
    holes.loc[holes.site != "COI", "gm_wm_harmonized"] = np.nan
    assert verdict(holes).answer == "cannot tell"
