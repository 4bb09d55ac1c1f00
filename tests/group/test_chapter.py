"""Site effects, effects of people and verdicts of cohorts whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.group.chapter import Chapter, make_chapter
from bids_harmony.group.covariates import read_covariates
from bids_harmony.group.outputs import find_outputs
from tests.group.conftest import Effects


def chapter_of(folders) -> Chapter:
    outputs, _ = find_outputs(folders.out, folders.bids)
    return make_chapter(outputs, read_covariates(folders.bids, outputs), seed=0)


def effect(chapter: Chapter, key: str, state: str):
    return next(e.effects[state] for e in chapter.effects if e.measure.key == key)


def answer(chapter: Chapter, word: str) -> str:
    return next(a.answer for a in chapter.answers if word in a.question)


def test_fewer_people_are_needed_where_the_site_effect_is_gone(make_cohort):
    chapter = chapter_of(make_cohort())
    needed = {n.measure.key: n for n in chapter.needed}["gm"]
    before, after = needed.states["source"], needed.states["harmonized"]
    share = effect(chapter, "gm", "source").share
    assert before == pytest.approx(788 / 3 / (1 - share), rel=0.02)
    assert 263 <= after < 0.5 * before
    rows = chapter.record()["people_per_site"]
    assert {"measure": "gm", "state": "source", "people": before, "sites": 3} in rows


def test_people_compared_with_themselves_tell_nothing_of_how_many_it_takes(make_cohort):
    assert chapter_of(make_cohort(travelling=True)).needed == []


def test_site_effect_that_harmonization_took_away(make_cohort):
    chapter = chapter_of(make_cohort())
    before, after = (effect(chapter, "gm", s) for s in ("source", "harmonized"))
    assert before.share > 0.5 and before.p < 1e-6
    assert after.share < 0.2 < before.low
    assert effect(chapter, "gm", "combat").p > 0.05
    assert answer(chapter, "variance") == "yes"
    assert answer(chapter, "classifier") == "yes"
    assert answer(chapter, "detail") == "yes"
    assert "passed" in chapter.verdict


def test_null_cohort_has_no_site_effect_before_or_after(make_cohort):
    chapter = chapter_of(make_cohort(Effects(site=0.0)))
    for state in ("source", "harmonized"):
        assert all(e.effects[state].p > 0.005 for e in chapter.effects)
    assert answer(chapter, "variance") == "cannot tell"
    assert answer(chapter, "classifier") == "cannot tell"
    assert "no site effect to begin with" in chapter.answers[0].words


def test_site_effect_that_is_left_is_told(make_cohort):
    chapter = chapter_of(make_cohort(Effects(left=1.5)))
    assert answer(chapter, "variance") == "no"
    assert "did not pass" in chapter.verdict


def test_age_effect_kept_is_within_its_interval(make_cohort):
    chapter = chapter_of(make_cohort(Effects(age=-0.002)))
    kept = next(
        k
        for k in chapter.kept
        if (k.covariate, k.measure.key, k.state) == ("age", "gm", "harmonized")
    )
    assert kept.effect.p_before < 1e-6
    assert kept.effect.low <= 1 <= kept.effect.high
    assert kept.effect.ratio == pytest.approx(1, abs=0.1)
    assert answer(chapter, "age") == "yes"


def test_age_effect_lost_is_told(make_cohort):
    chapter = chapter_of(make_cohort(Effects(age=-0.002, age_left=0.3)))
    assert answer(chapter, "age") == "no"
    assert "age on grey matter" in next(a.words for a in chapter.answers if "age" in a.question)


def test_confounded_age_is_told_and_left_out_of_the_models(make_cohort):
    chapter = chapter_of(make_cohort(older_by=40))
    assert chapter.confounded["age"].confounded
    assert not chapter.confounded["sex"].confounded
    # Age would take the site's effect for itself.
    assert effect(chapter, "gm", "source").share > 0.5


def test_blurring_loses_in_the_verdict(make_cohort):
    chapter = chapter_of(make_cohort(Effects(detail_after=-0.4)))
    assert answer(chapter, "detail") == "no"
    assert "did not pass" in chapter.verdict and "detail" in chapter.verdict


def test_remarks_and_sites_are_no_covariates(make_cohort):
    assert set(chapter_of(make_cohort()).covariates) == {"age", "sex"}


def test_travelling_people_are_blocks(make_cohort):
    # Age puts five times as much between people as lies between sites.
    chapter = chapter_of(make_cohort(Effects(site=0.012, left=0.0, age=0.005), travelling=True))
    assert effect(chapter, "gm", "source").within_people
    assert effect(chapter, "gm", "source").p < 0.01
    reliability = next(r for r in chapter.reliabilities if r.measure.key == "gm")
    assert reliability.states["source"].n_people == 12
    assert reliability.states["source"].icc > 0.5


def test_diffusion_regions_agree_better_after(make_cohort):
    chapter = chapter_of(make_cohort(suffix="dwi", travelling=True))
    fa = next(r for r in chapter.regions if r.parameter == "fa")
    # Sites at 1, 1.05 and 1.1 of one value: standard deviation 0.05 of a mean of 1.05.
    assert fa.source == pytest.approx(0.05 / 1.05, rel=0.1)
    assert fa.harmonized < 0.01 and fa.same_people and np.isnan(fa.floor)
    assert {e.measure.key for e in chapter.effects} == {"fa_gm", "fa_wm", "md_gm", "md_wm"}
    assert answer(chapter, "variance") == "yes"


def test_scan_that_stands_apart_is_named(make_cohort):
    from bids_harmony.quality.summary import load_summary, save_summary

    folders = make_cohort()
    path = sorted(folders.out.glob("sub-005/summaries/*.npz"))[0]
    summary = load_summary(path)
    save_summary(path, replace(summary, detail=summary.detail + 1))
    chapter = chapter_of(folders)
    assert next((o.scan, o.measure.key) for o in chapter.outliers) == ("sub-005_T1w", "detail")


def test_record_is_json(make_cohort):
    record = chapter_of(make_cohort()).record()
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text)["site_effects"][0]["measure"] == "gm"


def test_too_few_scans_say_so(make_cohort):
    chapter = chapter_of(make_cohort(per_site=1))
    assert {a.answer for a in chapter.answers} == {"cannot tell", "yes"}
    assert chapter.statements["probe"] and chapter.statements["site_effects"]
