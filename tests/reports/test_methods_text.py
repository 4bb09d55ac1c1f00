"""The methods text: every method has words, every citation an article."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bids_harmony
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.reports.bibliography import bibtex, references
from bids_harmony.reports.methods_text import Done, methods_text, planned, write_citation
from bids_harmony.settings import Settings

BIB = Path(bids_harmony.__file__).parent / "data" / "bibliography.bib"


@pytest.mark.parametrize("method", REGISTRY)
def test_every_method_is_described_and_cited(method):
    text = methods_text(Done((method,), ("COI",), ("T1w",), n4=True))
    whole = text.markdown()
    assert "documentation of this method" not in whole and "[@" not in whole
    assert f"T1w scans were harmonized to the site COI (method {method})" in whole
    for reference in text.references:
        assert reference.short in whole and reference.full in whole


def test_the_whole_file_is_read_and_every_article_can_be_cited():
    entries = re.findall(r"@\w+\{(\w+),", BIB.read_text())
    assert len(entries) == len(set(entries)) > 15
    for reference in references(entries):
        assert re.fullmatch(r"[^{}]+ (19|20)\d\d", reference.short)
        assert reference.fields["title"].replace("{", "").replace("}", "") in reference.full
        assert "{" not in reference.full
    assert bibtex(entries).count("@") == len(entries)
    with pytest.raises(KeyError):
        references(["nobody"])


def test_only_what_was_done_is_told():
    plain = methods_text(Done(("ihf",), masks=("T1w",))).markdown()
    assert "deepbet" not in plain and "N4" not in plain and "Diffusion" not in plain
    series = methods_text(Done(("ihf",), modalities=("dwi",), dwi_modes=("rish",))).markdown()
    assert "b-values" in series and "free water" in series
    assert "interpolated back" not in series
    assert "FORCE" not in series
    with_force = Done(("ihf",), modalities=("dwi",), dwi_modes=("rish",), fits=("force",))
    text = methods_text(with_force)
    assert "FORCE" in text.markdown() and "force" in {r.key for r in text.references}
    assert "NODDI" not in text.markdown() and "Tensors" not in text.markdown()
    nothing = methods_text(Done(("ihf",), modalities=("dwi",), dwi_modes=("rish",), fits=()))
    assert "fitted" not in nothing.markdown()
    usual = methods_text(Done(("ihf",), modalities=("dwi",), dwi_modes=("rish",)))
    assert {"dipy", "noddi", "amico"} <= {r.key for r in usual.references}
    assert "not for results" in methods_text(Done(("ihf",), sloppy=True)).markdown()


def test_text_of_a_run_that_is_planned(tmp_path):
    settings = Settings(Path("/b"), tmp_path, "participant", target_site="COI", method="ssimh")
    path = write_citation(tmp_path, planned(settings))
    text, bib = path.read_text(), path.with_suffix(".bib").read_text()
    assert path == tmp_path / "logs" / "CITATION.md"
    assert "COI (method ssimh)" in text and "Guan et al. 2022" in text
    assert "@inproceedings{ssimh," in bib and "{simix," not in bib
    assert "earlier derivatives" not in text


def test_who_shows_the_sites_is_told_where_not_all_do(tmp_path):
    query = "group == 'control'"
    settings = Settings(tmp_path, tmp_path, "participant", target_site="COI", profile_filter=query)
    (told,) = [text for text in methods_text(planned(settings)).plain() if query in text]
    assert told.startswith("How sites look was learnt from people with group == 'control'")
    assert "learnt from people" not in methods_text(Done(("ihf",))).markdown()
