"""A target site is found among people whom nobody asked for, without indexing everybody."""

from __future__ import annotations

import pytest

from bids_harmony.bids import site_search
from bids_harmony.bids.site_search import search_site

TOLD = {
    "participants": lambda raw: raw.table(
        "participants.tsv", "participant_id site", "sub-09 site_Osaka"
    ),
    "sessions": lambda raw: raw.table(
        "sub-09/sub-09_sessions.tsv", "session_id site", "ses-B OSAKA"
    ),
    "scans": lambda raw: raw.table(
        "sub-09/ses-B/sub-09_ses-B_scans.tsv", "filename site",
        "anat/sub-09_ses-B_T1w.nii.gz osaka",
    ),
    "institution": lambda raw: raw.json(
        "sub-09/ses-B/anat/sub-09_ses-B_T1w.json", InstitutionName="Osaka"
    ),
}  # fmt: skip


@pytest.fixture
def dataset(raw):
    """Nine people at one site, of whom the last has a second session somewhere."""
    for n in range(1, 10):
        raw.image(f"sub-0{n}/anat/sub-0{n}_T1w", InstitutionName="Kyoto")
    raw.image("sub-09/ses-B/anat/sub-09_ses-B_T1w", Manufacturer="GE")
    return raw


@pytest.fixture
def asked_for(monkeypatch):
    """Participants that were asked for properly; an empty tuple means all."""
    asked, real = [], site_search.find_scans

    def note(settings, **words):
        asked.append(words.get("people", ()))
        return real(settings, **words)

    monkeypatch.setattr(site_search, "find_scans", note)
    return asked


@pytest.mark.parametrize("told", TOLD)
def test_only_who_seems_to_belong_there_is_asked(dataset, asked_for, told):
    TOLD[told](dataset)
    settings = dataset.settings(participant_labels=("01",), target_site="osaka")
    site, _ = search_site(settings, "osaka")
    assert site is not None and site.casefold() == "osaka"
    assert asked_for == [("09",)]


@pytest.mark.parametrize("words", [("ge",), ("B",)], ids=["vendor", "session"])
def test_vendors_and_sessions_are_sites_as_well(dataset, asked_for, words):
    (asked,) = words
    settings = dataset.settings(participant_labels=("01",), target_site=asked)
    assert search_site(settings, asked)[0] is not None and asked_for == [("09",)]


def test_a_site_map_tells_as_well(dataset, asked_for, tmp_path):
    table = tmp_path / "map.tsv"
    table.write_text("participant_id\tsite\nsub-04\tOsaka\n")
    settings = dataset.settings(target_site="osaka", site_map=table)
    assert search_site(settings, "osaka")[0] == "Osaka" and asked_for == [("04",)]


def test_first_who_seems_right_may_have_nothing(dataset, asked_for):
    """A table names a person of whom there is no image; the next one has some."""
    dataset.table("participants.tsv", "participant_id site", "sub-03 Osaka", "sub-05 Osaka")
    for path in (dataset.root / "sub-03/anat").iterdir():
        path.unlink()
    assert search_site(dataset.settings(target_site="Osaka"), "Osaka")[0] == "Osaka"
    assert asked_for == [("03",), ("05",)]


def test_nobody_means_that_everybody_was_asked(dataset, asked_for):
    settings = dataset.settings(participant_labels=("01",), target_site="Mars")
    site, present = search_site(settings, "Mars")
    assert site is None and present == {"GE": 1, "Kyoto": 9}
    assert asked_for == [()]


def test_a_site_that_only_a_sidecar_of_the_root_names(raw, asked_for):
    raw.image("sub-01/anat/sub-01_T1w")
    raw.json("T1w.json", InstitutionName="Osaka")
    assert search_site(raw.settings(target_site="Osaka"), "osaka")[0] == "Osaka"
    assert asked_for == [()]


def test_filters_choose_what_is_harmonized_and_not_who_shows_the_look(dataset):
    settings = dataset.settings(bids_filters={"T1w": {"session": "B"}}, target_site="Kyoto")
    assert search_site(settings, "Kyoto") == ("Kyoto", {"Kyoto": 1})
