"""The article's experiment: who may be seen by whom, what is run again, when a curve rests."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bids_harmony.phantom.real_scanners import scanner_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load():
    """Benchmarks are programs that find one another beside them."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def parts(load):
    return load("article_parts")


@pytest.fixture(scope="module")
def cohort(load, tmp_path_factory):
    """Two source sites and the target, a person each, at 8 mm."""
    people, module = load("travelling_people"), load("article_cohort")
    plan = load("travelling_cohort").Plan(
        sites=("COI", "S1", "S2"), modalities=("T1w",), training_per_site=1, paired=2,
        test=(("phantom", 3),), voxel_mm=8.0, seed=5, varied=True,
        calibrated=module.unseen_seeds(3),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "source_names", lambda kind: [])
        made = module.Cohort(plan, tmp_path_factory.mktemp("cohort"), validation=1)
        made.scans("paired", "T1w")
        made.watched("T1w")
        list(made.shown("T1w"))
    return made


@pytest.fixture
def scoring(load, monkeypatch):
    """Scores without the perceptual metric, whose weights are a package of their own."""
    run = load("travelling_run")
    monkeypatch.setattr(run, "shift_tolerant_lpips", lambda: None)
    monkeypatch.setattr(run, "lpips", lambda *_, **__: 0.0)
    return load("article_scores")


def curve(values, last=1000):
    slices = np.linspace(0, last, len(values))
    return [[float(s), 0.0, float(v)] for s, v in zip(slices, values, strict=True)]


def test_a_curve_rests_when_its_last_fifth_stays_within_a_tenth_of_a_decibel(parts):
    rise = [10, 15, 18, 19, 20, 20.5, 20.8, 21]
    assert parts.flattened(curve([*rise, 21.1, 21.15, 21.19]))
    assert not parts.flattened(curve([*rise, 21.1, 21.15, 21.21]))
    # Down counts as up does, and a way there and back as well.
    assert not parts.flattened(curve([*rise, 21.1, 21.05, 20.9]))
    assert not parts.flattened(curve([*rise, 21.1, 21.3, 21.1]))


def test_of_a_curve_with_few_points_nothing_is_known(parts):
    assert not parts.flattened([])
    assert not parts.flattened(curve([20.0, 20.0, 20.0]))


def rows_of(part, *methods, psnr=20.0):
    return [
        {"part": part.part, "method": method, "losses": part.losses, "modality": part.modality,
         "seed": part.seed, "rmse": 0.1, "ms_ssim": 0.9, "psnr_db": psnr, "lpips": 0.1,
         "slices_seen": 0, "hours": 0.0, "flattened": None}
        for method in methods
    ]  # fmt: skip


def test_a_finished_part_is_not_run_again_and_a_broken_one_is(parts):
    record = {}
    wanted = parts.all_parts()[:4]
    ran = []

    def sitting(breaks=None):
        for part in parts.pending(wanted, lambda: record, float("inf")):
            ran.append(part.key)
            if part == breaks:
                raise KeyboardInterrupt
            found = parts.with_result(record, part, rows_of(part, part.method), {})
            record.clear()
            record.update(found)

    with pytest.raises(KeyboardInterrupt):
        sitting(breaks=wanted[2])
    assert ran == [part.key for part in wanted[:3]]
    ran.clear()
    sitting()
    assert ran == [part.key for part in wanted[2:]]
    ran.clear()
    sitting()
    assert ran == [] and len(record["rows"]) == 4


def test_a_part_whose_rows_are_not_whole_is_not_done(parts):
    part = parts.Part("figure3c", "untrained", "", "T1w", 0)
    whole = parts.with_result({}, part, rows_of(part, "raw", "local"), {"commit": "a"})
    assert parts.is_done(whole, part)
    assert not parts.is_done(whole | {"rows": whole["rows"][:1]}, part)
    broken = parts.with_result({}, part, rows_of(part, "raw", psnr=float("nan")), {})
    assert not parts.is_done(broken, part)
    assert not parts.is_done(whole, parts.Part("figure3c", "untrained", "", "T2w", 0))


def test_a_result_takes_the_place_of_an_earlier_one_and_no_other(parts):
    one, other = (parts.Part("table1", "paper", "both", "T1w", seed) for seed in (0, 1))
    record = parts.with_result({}, one, rows_of(one, "paper"), {"commit": "a"})
    record = parts.with_result(record, other, rows_of(other, "paper"), {"commit": "a"})
    record = parts.with_result(record, one, rows_of(one, "paper", psnr=25.0), {"commit": "b"})
    assert {row["seed"]: row["psnr_db"] for row in record["rows"]} == {0: 25.0, 1: 20.0}
    assert [record["runs"][part.key]["commit"] for part in (one, other)] == ["b", "a"]


def test_no_part_begins_that_does_not_fit_into_the_sitting(parts):
    wanted = parts.all_parts()
    short = [part for part in wanted if part.minutes <= 4]
    assert list(parts.pending(wanted, dict, 5.0)) == short
    assert max(part.minutes for part in wanted) <= 30
    keys = [part.key for part in wanted]
    assert len(set(keys)) == len(keys)


def test_a_curve_goes_on_where_a_sitting_broke_off(parts, tmp_path):
    path = tmp_path / "curve.json"
    path.write_text(json.dumps([[0, 0.0, 10.0], [80, 0.1, 12.0], [160, 0.2, 13.0]]))
    again = parts.Curve(path)
    assert again.hours >= 0.2
    # Trained anew from the checkpoint at 80 slices.
    again.add(160, 13.25)
    again.add(240, 14.0)
    told = json.loads(path.read_text())
    assert [(point[0], point[2]) for point in told] == [
        (0, 10.0), (80, 12.0), (160, 13.25), (240, 14.0)
    ]  # fmt: skip
    assert told[-1][1] >= 0.2


def test_scanners_are_of_rows_that_the_shipped_networks_never_drew(load):
    module = load("article_cohort")
    seeds, rows = module.ARTICLE_PLAN.calibrated, scanner_rows()
    model = Path(load("bids_harmony.model.shipped").SHIPPED_MODEL) / "model.json"
    extra = json.loads(model.read_text())["extra"]
    seen = set()
    for plan in (extra["plan"], extra["fine_plan"]):
        first = 7_000_000 + plan["seed"] * 10_000
        count = plan["training_scanners"] + plan["validation_scanners"]
        # Every second is of the table, see `twin_pool`.
        seen |= {s % len(rows) for s in range(first, first + count) if s % 2}
    assert len(seen) > 40
    assert len(seeds) == 10 and not {seed % len(rows) for seed in seeds} & seen
    assert {float(rows[seed % len(rows)]["field_tesla"]) for seed in seeds} == {3.0}


def test_nobody_has_two_roles(cohort):
    people = {role: {p.seed for p in own} for role, own in cohort.people.items()}
    assert [len(own) for own in people.values()] == [3, 1, 1, 3]
    assert len(set().union(*people.values())) == 8


def test_methods_learn_from_training_and_paired_people_only(cohort):
    unpaired, paired = (cohort.scans(role, "T1w") for role in ("training", "paired"))
    subjects = [scan.subject for scan in unpaired]
    assert len(set(subjects)) == len(subjects) == 3
    assert {scan.site for scan in paired} == {"COI", "S1", "S2"}
    scored = {str(p.seed) for role in ("validation", "travellers") for p in cohort.people[role]}
    assert not {scan.subject for scan in (*unpaired, *paired)} & scored
    with pytest.raises(ValueError, match="travellers"):
        cohort.scans("travellers", "T1w")


def test_a_method_is_never_shown_a_traveller_at_the_target(cohort, load, scoring):
    at_target = [
        load("travelling_cohort").scan_at(cohort.plan, person, "COI", "T1w").data
        for person in cohort.people["travellers"]
    ]
    seen = []

    def apply(*given):
        seen.append(given)
        return given[0].data

    scoring.score_travellers(cohort, "T1w", apply)
    # Every traveller at every third source.
    assert [site for _, site in seen] == ["S1", "S2"]
    for prepared, _ in seen:
        assert not any(np.array_equal(prepared.data, scan) for scan in at_target)


def test_scores_are_those_of_the_image_against_the_twin(cohort, scoring):
    shot = next(iter(cohort.shown("T1w")))
    scores, perfect = (scoring.Scores() for _ in range(2))
    scores.add(shot.prepared.data, shot.twin, shot.prepared.mask, shot.site)
    perfect.add(shot.twin, shot.twin, shot.prepared.mask, shot.site)
    assert perfect.figures["rmse"] == 0 and scores.figures["rmse"] > 0.01
    assert list(scores.figures) == ["rmse", "ms_ssim", "psnr_db", "lpips"]
    assert scores.about["scans"] == 1 and list(scores.about["densities"]) == [shot.site]


def test_validation_counts_the_watched_slices(cohort, load):
    watched = cohort.watched("T1w")
    psnr = load("article_scores").watched_psnr
    assert [shot.site for shot in watched] == ["S1", "S2"]
    off = [shot.twin[:, :, shot.heights] + 0.1 for shot in watched]
    assert psnr(watched, off) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(("losses", "slices"), [("none", 0), ("both", 8)])
def test_the_published_method_ends_with_its_last_weights(
    cohort, load, parts, tmp_path, monkeypatch, losses, slices
):
    training = load("article_training")
    # Validation gets worse all the time: the best weights are those of the first step.
    falling = iter(range(100, 0, -1))
    monkeypatch.setattr(training, "watched_psnr", lambda *_: float(next(falling)))
    part = parts.Part("table1", "paper", losses, "T1w", 1)
    budget = training.Budget(steps=4, batch=2, learning_rate=1e-3)
    trained = training.train_paper(part, cohort, tmp_path, budget, None)
    assert trained.slices == slices
    assert [point[0] for point in trained.curve.points] == [0, *range(2, slices + 1, 2)]
    if slices:
        state = load_file(tmp_path / "paper_checkpoint.safetensors")
        own = load_file(trained.folder / "model.safetensors")
        assert all(torch.equal(own[name], state[f"network.{name}"]) for name in own)
        name = "projection.0.weight"
        assert not torch.equal(own[name], state[f"best.{name}"])


@pytest.mark.parametrize("method", ["cgan", "simix"])
def test_rivals_are_watched_while_they_train(cohort, load, parts, tmp_path, method):
    training = load("article_training")
    part = parts.Part("figure3c", method, "", "T1w", 0)
    budget = training.Budget(steps=5, batch=1, learning_rate=2e-4, width=2)
    trained = training.train_rival(part, cohort, tmp_path, budget, None)
    assert trained.method == method and trained.slices == 5
    assert [point[0] for point in trained.curve.points] == [1, 2, 3, 4, 5]
    assert trained.about["pairs"] == 2
