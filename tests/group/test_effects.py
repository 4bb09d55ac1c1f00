"""ComBat of a table as people have it: travellers, single scans, holes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_harmony.group.effects import add_combat
from bids_harmony.group.measures import Measure
from bids_harmony.quality.combat import combat, leave_person_out

KEYS = ("gm", "wm", "csf", "noise")
MEASURES = tuple(Measure(key, key.upper(), "") for key in KEYS)


def table(rng, people, sites):
    """Measures that sites shift, of people each with a name and a site."""
    shift = {site: rng.normal(0, 2, len(KEYS)) for site in sorted(set(sites))}
    values = np.stack([rng.normal(size=len(KEYS)) + shift[site] for site in sites])
    columns = {f"{key}_source": values[:, i] for i, key in enumerate(KEYS)}
    return pd.DataFrame({"participant_id": people, "site": sites, **columns})


def values(frame, state):
    return frame[[f"{key}_{state}" for key in KEYS]].to_numpy()


@pytest.fixture
def strangers(rng):
    """Eight people at each of three sites."""
    people = [f"sub-{i:02d}" for i in range(24)]
    return table(rng, people, ["A"] * 8 + ["B"] * 8 + ["C"] * 8)


def test_people_of_one_site_each_are_adjusted_together(strangers):
    got, why_not, remark = add_combat(strangers, MEASURES, {})
    assert (why_not, remark) == ("", "")
    expected = combat(values(strangers, "source"), strangers["site"])
    np.testing.assert_allclose(values(got, "combat"), expected)
    assert not any(name.endswith("_combat") for name in strangers)


def test_travellers_are_adjusted_by_what_others_show(rng):
    people = [f"sub-{i}" for i in range(9)] * 3
    sites = ["A"] * 9 + ["B"] * 9 + ["C"] * 9
    frame = table(rng, people, sites)
    got, _, remark = add_combat(frame, MEASURES, {})
    expected = leave_person_out(values(frame, "source"), sites, people)
    np.testing.assert_allclose(values(got, "combat"), expected)
    assert remark.startswith("Of 9 of 9 people who were at several sites, ComBat was learnt on")
    # Site D is shown by one traveller and one other: without the traveller too few are left.
    more = pd.concat([frame, table(rng, ["sub-0", "sub-77"], ["D", "D"])], ignore_index=True)
    got, _, remark = add_combat(more, MEASURES, {})
    assert remark.startswith("Of 8 of 9 people")
    assert np.isfinite(values(got, "combat")).all()


def test_single_scans_and_holes_are_told_and_empty_nothing(strangers, rng):
    alone = table(rng, ["sub-98", "sub-99"], ["D", "E"])
    frame = pd.concat([strangers, alone], ignore_index=True)
    frame.loc[2, "wm_source"] = np.nan
    age = np.linspace(20, 60, len(frame))
    age[5] = np.nan
    got, why_not, remark = add_combat(frame, MEASURES, {"age": age})
    assert why_not == ""
    found = np.isfinite(values(got, "combat"))
    assert not found[5].any() and not found[24:].any()
    assert found[2].tolist() == [True, False, True, True]
    assert found.sum() == 23 * 4 - 1
    assert remark == (
        "A measure is missing in 1 of the scans, which count for the rest. A covariate is missing "
        "of 1 of the scans, which are left out. Sites of a single scan are left out: D, E."
    )


def test_too_few_scans_are_a_reason(rng):
    frame = table(rng, ["sub-1", "sub-2", "sub-3"], ["A", "A", "B"])
    got, why_not, remark = add_combat(frame, MEASURES, {})
    assert got is frame and remark == ""
    assert why_not.endswith("here A: 2, B: 1.")


def test_people_scanned_repeatedly_have_a_level_of_their_own(rng):
    people = np.repeat([f"sub-{i:02d}" for i in range(16)], 3).tolist()
    frame = table(rng, people, ["A"] * 24 + ["B"] * 24)
    got, _, remark = add_combat(frame, MEASURES, {})
    assert remark == "People who were scanned repeatedly have a level of their own, which stays."
    expected = combat(values(frame, "source"), frame["site"], people=people)
    np.testing.assert_allclose(values(got, "combat"), expected)
