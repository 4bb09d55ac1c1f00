"""Which model counts for a diffusion series, and what is told where none does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.exceptions import InputOutputError, SiteError
from bids_harmony.settings import Settings
from bids_harmony.workflows import scan_models
from bids_harmony.workflows.site_scans import ProfileKey


@pytest.mark.parametrize(
    ("unseen", "kind"),
    [
        ({ProfileKey("A", "dwi"): InputOutputError("No luck")}, InputOutputError),
        ({}, SiteError),
    ],
)
def test_a_series_whose_target_is_not_seen_fails_as_the_targets_series_did(
    tmp_path, monkeypatch, unseen, kind
):
    settings = Settings(tmp_path / "bids", tmp_path / "out", "participant", target_site="A")
    blind = SimpleNamespace(has_profile=lambda key, site: False)
    monkeypatch.setattr(scan_models, "load_model", lambda settings, *, series: (None, blind))
    monkeypatch.setattr(scan_models.SeriesProfiles, "is_known", lambda self, key: False)
    monkeypatch.setattr(scan_models.SeriesProfiles, "make", lambda self, keys, _: unseen)
    monkeypatch.setattr(scan_models, "gradients_of", lambda *_: None)
    scan = Scan(
        Path("x_dwi.nii"), {"subject": "1"}, "dwi", {}, SiteEvidence("B", "test"), (Path(), Path())
    )
    model_of = scan_models.models_of(settings, [scan], tmp_path)
    with pytest.raises(kind) as caught:
        model_of(scan)
    assert type(caught.value) is kind
