"""Who stands for a site: people of all kinds, the same in every job."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from bids_harmony.workflows.site_scans import (
    ProfileKey,
    balanced,
    choose_scans,
    choose_sound,
    left_by_filter,
)


def scans(settings, people):
    """One scan each, and the table that knows age and sex."""
    lines = ["participant_id\tage\tsex"]
    lines += [f"sub-{label}\t{age}\t{sex}" for label, age, sex in people]
    settings.bids_dir.mkdir(parents=True, exist_ok=True)
    (settings.bids_dir / "participants.tsv").write_text("\n".join(lines) + "\n")
    return [
        SimpleNamespace(subject=label, session=None, path=settings.bids_dir / f"sub-{label}.nii")
        for label, *_ in people
    ]


#: The first ten are young women.
PEOPLE = [
    *((f"{i:02d}", 20 + i, "F") for i in range(10)),
    *((f"{i:02d}", 40 + i, "M") for i in range(10, 40)),
]


def test_a_few_of_many_are_of_all_ages_and_both_sexes(settings):
    found = scans(settings, PEOPLE)
    ages = {label: age for label, age, _ in PEOPLE}
    chosen = choose_scans(balanced(found, settings), 8)
    own = np.array([ages[scan.subject] for scan in chosen])
    everyone = np.array(list(ages.values()))
    assert len({scan.subject for scan in chosen}) == 8
    assert abs(own.mean() - everyone.mean()) < 0.25 * everyone.std()
    assert 0.7 < own.std() / everyone.std() < 1.4
    assert {scan.subject < "10" for scan in chosen} == {True, False}
    # Blind to covariates, the first eight by name are young women.
    blind = choose_scans(balanced(found, replace(settings, covariates=())), 8)
    assert [scan.subject for scan in blind] == [f"{i:02d}" for i in range(8)]


def test_series_and_images_are_chosen_of_people_who_fit(settings):
    """A query on participants.tsv, for every kind of scan."""
    found = scans(settings, PEOPLE)
    asked = replace(settings, profile_filter="sex == 'M' and age < 60", bank_scans=50)
    fitting = {label for label, age, sex in PEOPLE if sex == "M" and age < 60}
    for modality in ("T1w", "dwi"):
        for scan in found:
            scan.modality, scan.site = modality, SimpleNamespace(site="A")
        key = ProfileKey("A", modality)
        chosen = choose_sound(key, asked, found, check=lambda *_: None)
        assert {scan.subject for scan in chosen} == fitting
        assert left_by_filter(key, asked, found) is None
        nobody = replace(asked, profile_filter="age > 200")
        assert choose_sound(key, nobody, found, check=lambda *_: None) == ()
        assert f"the {modality} images of A" in str(left_by_filter(key, nobody, found))
        assert left_by_filter(ProfileKey("B", modality), nobody, found) is None


def test_the_order_in_which_scans_are_found_does_not_matter(settings):
    found = scans(settings, PEOPLE)
    first, again = (balanced(order, settings) for order in (found, found[::-1]))
    assert first == again
    assert sorted(s.subject for s in first) == sorted(s.subject for s in found)
