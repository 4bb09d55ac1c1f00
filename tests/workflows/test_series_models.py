"""Which model counts for a diffusion series, and what is told where none does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bids_harmony.bids.scan import Scan
from bids_harmony.bids.site import SiteEvidence
from bids_harmony.exceptions import InputOutputError, SiteError
from bids_harmony.settings import Settings
from bids_harmony.workflows import series_models


@pytest.mark.parametrize(
    ("unseen", "kind"), [({"A": InputOutputError("No luck")}, InputOutputError), ({}, SiteError)]
)
def test_a_series_whose_target_is_not_seen_fails_as_the_targets_series_did(
    tmp_path, monkeypatch, unseen, kind
):
    settings = Settings(tmp_path / "bids", tmp_path / "out", "participant", target_site="A")
    blind = SimpleNamespace(has_profile=lambda key, site: False)
    monkeypatch.setattr(series_models, "_load", lambda settings: (None, blind))
    monkeypatch.setattr(series_models, "is_known", lambda *_: False)
    monkeypatch.setattr(series_models, "make_series_profiles", lambda sites, *_: unseen)
    monkeypatch.setattr(series_models, "gradients_of", lambda *_: None)
    scan = Scan(Path("x_dwi.nii"), {"subject": "1"}, "dwi", {}, SiteEvidence("B", "test"))
    model_of = series_models.models_of_series(settings, [scan], tmp_path)
    with pytest.raises(kind) as caught:
        model_of(scan)
    assert type(caught.value) is kind
