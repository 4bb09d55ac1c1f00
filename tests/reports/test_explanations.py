"""Numbers in plain words."""

from __future__ import annotations

from bids_harmony.quality.changes import DESCRIPTIONS
from bids_harmony.reports.explanations import quality_findings, scan_warnings


def beyond(quality, transform=None, **more):
    findings, _ = quality_findings({"HarmonizationQuality": quality, **more}, transform or {}, {})
    return {f.name for f in findings if f.beyond}


def test_the_numbers_of_every_image_are_explained_or_described():
    quality = {key: 0.5 for key in DESCRIPTIONS if key != "same_site"}
    explained, others = quality_findings({"HarmonizationQuality": quality}, {}, DESCRIPTIONS)
    assert len(explained) + len(others) == len(quality)
    assert all(f.words for f in [*explained, *others])


def test_thresholds_have_two_sides():
    assert beyond({"rmse_brain": 0.25, "ssim_brain": 0.75, "nyquist_share": 0.05}) == set()
    assert len(beyond({"rmse_brain": 0.26, "ssim_brain": 0.74, "nyquist_share": 0.06})) == 3
    assert beyond({}, OutOfDistributionScore=2.1) == {"Novelty for the model"}
    assert beyond({}, {"RegistrationSimilarity": 0.8}) == {"Registration"}
    assert beyond({}, {"RegistrationSimilarity": 1.2}) == set()


def test_any_change_is_too_much_where_source_and_target_are_one_site():
    assert beyond({"rmse_brain": 0.001, "same_site": True}) == {"Change inside the brain"}
    assert beyond({"rmse_brain": 0.0, "same_site": True}) == set()


def test_odd_sidecars_do_no_harm():
    odd = {"HarmonizationQuality": [1], "HarmonizationSource": "GE", "IntensityTransform": "x"}
    assert quality_findings(odd, {}, {}) == ([], [])
    assert scan_warnings(odd, {}) == []
    assert "template" in scan_warnings({}, {"MaskKind": "template"})[0]


def test_shells_without_an_equal_are_told_with_what_was_done_to_them():
    done = {"Note": "b=3000 is not shown.", "Done": ["noise", "levels"], "NotDone": ["mean b=0"]}
    (told,) = scan_warnings({"ShellsWithoutEqual": done}, {})
    assert told == "b=3000 is not shown. Done: noise, levels. Left as it was: mean b=0."
    (told,) = scan_warnings({"ShellsWithoutEqual": done | {"Done": []}}, {})
    assert "Done: nothing." in told
    assert scan_warnings({"ShellsWithoutEqual": [3000]}, {}) == []
