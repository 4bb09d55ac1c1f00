"""Which model counts for a diffusion series, and what is told where none does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.exceptions import DataError, InputOutputError, SiteError
from bids_harmony.settings import Settings
from bids_harmony.sites.series_profile import SeriesProfile
from bids_harmony.workflows import scan_models
from bids_harmony.workflows.model_record import Model
from bids_harmony.workflows.profiles import profile_cache
from bids_harmony.workflows.series_profiles import series_profile_path
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


@pytest.mark.parametrize("lacking", ["A", "B"])
@pytest.mark.parametrize(
    ("options", "refused"),
    [({}, False), ({"strict_shells": True}, True), ({"dwi_mode": "volume"}, True)],
)
def test_a_shell_that_a_site_lacks_is_refused_only_where_it_must_have_an_equal(
    tmp_path, monkeypatch, options, refused, lacking
):
    settings = Settings(
        tmp_path / "bids", tmp_path / "out", "participant", target_site="A", **options
    )
    seen = SimpleNamespace(has_profile=lambda key, site: True, identity=lambda *names: str(names))
    monkeypatch.setattr(
        scan_models,
        "load_model",
        lambda settings, *, series: (Model("ihf", tmp_path, "", ""), seen),
    )
    made = []
    monkeypatch.setattr(scan_models.SeriesProfiles, "is_known", lambda self, key: False)
    monkeypatch.setattr(
        scan_models.SeriesProfiles, "make", lambda self, keys, _: made.extend(keys) or {}
    )
    bvals = np.array([0.0, 930, 930, 1500])
    monkeypatch.setattr(scan_models, "gradients_of", lambda *_: Gradients(bvals, np.eye(4, 3)))
    for site in "AB":
        shells = (950.0,) if site == lacking else (950.0, 1500.0)
        looks = SeriesMeasures(0.01, 3e-3, *(dict.fromkeys(shells, (0.0,)) for _ in range(2)))
        path = series_profile_path(profile_cache(settings, series=True), site)
        path.parent.mkdir(parents=True, exist_ok=True)
        SeriesProfile(site, ((f"{site}1", looks),)).write(path)
    scan = Scan(
        Path("x_dwi.nii"), {"subject": "1"}, "dwi", {}, SiteEvidence("B", "test"), (Path(), Path())
    )
    model_of = scan_models.models_of(settings, [scan], tmp_path)
    # For what the target refuses no profile is made.
    wanted = [] if refused and lacking == "A" else [ProfileKey("B", "dwi")]
    assert made == [ProfileKey("A", "dwi"), *wanted]
    if refused:
        with pytest.raises(DataError, match="no shell like"):
            model_of(scan)
    else:
        assert model_of(scan).source_scans == ("B1",)
