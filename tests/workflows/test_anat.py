"""Who masks the brain of a scan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.settings import Settings
from bids_harmony.workflows.anat import init_anat_fit_wf, masked_by_itself


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "bids", tmp_path / "out", "participant")


def scan_of(tmp_path, modality):
    path = tmp_path / f"bids/sub-1/anat/sub-1_{modality}.nii.gz"
    return Scan(path, {"subject": "1"}, modality, {}, SiteEvidence("A", "test"))


def test_what_has_no_t1w_is_masked_by_itself_or_by_the_template(tmp_path, settings):
    template = replace(settings, mask_without_t1w="template")
    t1w, flair = scan_of(tmp_path, "T1w"), scan_of(tmp_path, "FLAIR")
    for asked in (settings, template):
        assert masked_by_itself(t1w, asked, with_t1w=False)
        assert not masked_by_itself(flair, asked, with_t1w=True)
    assert masked_by_itself(flair, settings, with_t1w=False)
    assert not masked_by_itself(flair, template, with_t1w=False)


@pytest.mark.parametrize(
    ("asked", "interface", "first"),
    [("deepbet", "BrainFromImage", True), ("template", "BrainFromTemplate", False)],
)
def test_its_own_mask_comes_before_the_registration_and_the_templates_after(
    tmp_path, settings, asked, interface, first
):
    settings = replace(settings, mask_without_t1w=asked)
    graph = init_anat_fit_wf(scan=scan_of(tmp_path, "T2w"), settings=settings)
    assert type(graph.get_node("mask_brain").interface).__name__ == interface
    assert graph.get_node("register").inputs.modality == "T2w"
    links = {(a.name, b.name) for a, b in graph._graph.edges()}
    assert (("maskbuffer", "register") in links) is first
    assert (("xfmbuffer", "mask_brain") in links) is not first
