"""Unpaired slices: other people, matched heights, every slice once an epoch, parts that fit."""

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.training.unpaired_scans import sampler, scan, scans


def drawn(made, steps):
    return [row for step in range(steps) for row in made.rows(step)]


@pytest.mark.parametrize("slices_per_pair", [1, 3])
def test_an_epoch_draws_every_source_slice_once(slices_per_pair):
    made = sampler(slices_per_pair=slices_per_pair)
    for epoch in range(2):
        steps = range(epoch * made.steps_per_epoch, (epoch + 1) * made.steps_per_epoch)
        rows = [row for step in steps for row in made.rows(step)]
        count = Counter((row.source.label, row.height) for row in rows)
        wanted = {(s.label, int(k)) for s in scans() for k in s.tall}
        assert set(count) == wanted and set(count.values()) == {1}


def test_targets_are_other_people_of_the_contrast_at_matched_height():
    made = sampler(same_site_share=0.3)
    rows = drawn(made, 2 * made.steps_per_epoch)
    for row in rows:
        assert row.source.subject != row.goal.subject
        assert row.source.modality == row.goal.modality and row.goal.site == row.target_site
        assert abs(row.matched - row.height) <= 2 and row.matched in row.goal.tall
    same = np.mean([row.source.site == row.target_site for row in rows])
    assert 0.15 < same < 0.45
    assert not any(r.source.site == r.target_site for r in drawn(sampler(same_site_share=0.0), 9))


def test_a_batch_mixes_contrasts_and_sites():
    rows = sampler(batch=12).rows(0)
    assert {(r.source.modality, r.source.site) for r in rows} == {
        (m, s) for m in ("T1w", "T2w") for s in "AB"
    }


def test_a_step_is_the_same_whoever_draws_it_and_other_seeds_differ():
    first, second = sampler(), sampler()
    wanted = [first.part(step) for step in range(8)]
    for step in reversed(range(8)):
        again = second.part(step)
        assert torch.equal(again.stack, wanted[step].stack)
        assert all(torch.equal(a, b) for (a, _), (b, _) in
                   zip(again.target, wanted[step].target, strict=True))  # fmt: skip
    assert not torch.equal(sampler(seed=5).part(0).stack, wanted[0].stack)


@pytest.mark.parametrize("parts", [2, 4, 9])
def test_parts_make_up_the_batch(parts):
    made = sampler()
    whole = made.part(3)
    some = [made.part(3, i, parts) for i in range(parts)]
    assert sum(part.share for part in some) == pytest.approx(1)
    weighty = [part for part in some if part.share]
    assert torch.equal(torch.cat([p.stack for p in weighty]), whole.stack)
    assert torch.equal(torch.cat([p.same_site for p in weighty]), whole.same_site)
    codes = torch.cat([p.condition.code_target for p in weighty])
    assert torch.equal(codes, whole.condition.code_target)
    assert all(len(part.stack) for part in some)


def test_the_target_is_the_slice_or_the_mean_of_its_site():
    for name in ("slice", "prototype"):
        made = sampler(art_target=name)
        rows, pairs = made.rows(0), made.part(0)
        for i, row in enumerate(rows):
            site = [s for s in made.scans if (s.site, s.modality) ==
                    (row.target_site, row.source.modality)]  # fmt: skip
            chosen = site if name == "prototype" else [row.goal]
            wanted = [made.statistics.of_slices(s, [row.matched]) for s in chosen]
            for tap, (mean, std) in enumerate(pairs.target):
                assert torch.allclose(mean[i], torch.cat([w[tap][0] for w in wanted]).mean(0))
                assert torch.allclose(std[i], torch.cat([w[tap][1] for w in wanted]).mean(0))


def test_nothing_is_possible_within_one_site_or_one_person():
    assert not sampler([scan("A0", "A"), scan("A1", "A")]).possible
    # The same person at two sites: a travelling subject is nobody's unpaired target.
    assert not sampler([scan("T", "A"), scan("T", "B")]).possible
    # A contrast that one site lacks is left out.
    some = sampler([scan("A0", "A"), scan("B0", "B"), scan("A0", "A", "T2w")])
    assert {s.label for s in some.sources} == {"sub-A0_T1w", "sub-B0_T1w"}


def test_conditioned_scans_kept_in_memory_do_not_grow(monkeypatch):
    monkeypatch.setattr("bids_harmony.training.pair_sampler.KEPT", 3)
    made = sampler()
    for step in range(made.steps_per_epoch):
        made.part(step)
        assert len(made.conditioned) <= 3


def test_pairs_move_as_a_whole():
    moved = sampler().part(0).to(torch.device("meta"))
    tensors = [moved.stack, moved.same_site, *(t for tap in moved.target for t in tap)]
    tensors += [
        v for f in fields(moved.condition) if (v := getattr(moved.condition, f.name)) is not None
    ]
    assert all(t.device.type == "meta" for t in tensors)
