"""A target site is found among people whom nobody asked for, without indexing everybody."""

from __future__ import annotations

import pytest

from bids_harmony.bids import site_search
from bids_harmony.bids.dataset import find_scans
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


def search(settings, asked):
    """As `find_target` does: what may be meant, then whether there are scans."""
    sites = find_scans(settings).sites
    (site,) = sites.meant(asked)
    return site if search_site(settings, site, sites) else None


@pytest.mark.parametrize("told", TOLD)
def test_only_who_belongs_there_is_asked(dataset, asked_for, told):
    TOLD[told](dataset)
    settings = dataset.settings(participant_labels=("01",), target_site="osaka")
    assert search(settings, "osaka").casefold() == "osaka"
    assert asked_for == [("09",)]


@pytest.mark.parametrize("asked", ["ge", "B"], ids=["vendor", "session"])
def test_vendors_and_sessions_are_sites_as_well(dataset, asked_for, asked):
    settings = dataset.settings(participant_labels=("01",), target_site=asked)
    assert search(settings, asked).casefold() == asked.casefold() and asked_for == [("09",)]


def test_a_site_map_tells_as_well(dataset, asked_for, tmp_path):
    table = tmp_path / "map.tsv"
    table.write_text("participant_id\tsite\nsub-04\tOsaka\n")
    settings = dataset.settings(target_site="osaka", site_map=table)
    assert search(settings, "osaka") == "Osaka" and asked_for == [("04",)]


def test_first_who_seems_right_may_have_nothing(dataset, asked_for):
    """Of the first person nothing can be read; the next one has a sound scan."""
    dataset.table("participants.tsv", "participant_id site", "sub-03 Osaka", "sub-05 Osaka")
    (dataset.root / "sub-03/anat/sub-03_T1w.json").write_text("{")
    assert search(dataset.settings(target_site="Osaka"), "Osaka") == "Osaka"
    assert asked_for == [("03",), ("05",)]


def test_where_nobody_has_a_usable_scan_everybody_is_asked(dataset, asked_for):
    dataset.table("participants.tsv", "participant_id site", "sub-03 Osaka")
    (dataset.root / "sub-03/anat/sub-03_T1w.json").write_text("{")
    assert search(dataset.settings(target_site="Osaka"), "Osaka") is None
    assert asked_for == [("03",), ()]


def test_a_site_that_only_a_sidecar_of_the_root_names(raw, asked_for):
    raw.image("sub-01/anat/sub-01_T1w")
    raw.json("T1w.json", InstitutionName="Osaka")
    assert search(raw.settings(target_site="Osaka"), "osaka") == "Osaka"
    assert asked_for == [("01",)]


def test_filters_choose_what_is_harmonized_and_not_who_shows_the_look(dataset):
    settings = dataset.settings(bids_filters={"T1w": {"session": "B"}}, target_site="Kyoto")
    assert search(settings, "Kyoto") == "Kyoto"
