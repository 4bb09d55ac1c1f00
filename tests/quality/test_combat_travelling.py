"""ComBat on real travelling subjects: nine people, ten sites, volumes of 34 regions (SRPBS)."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from bids_harmony.quality.combat import combat, leave_person_out
from bids_harmony.quality.reliability import icc


@pytest.fixture(scope="module")
def volumes(shared_data):
    """Logarithms of volumes (90 sessions, 34 regions), people, sites."""
    path = shared_data / "real_tables" / "srpbs_volumes" / "srpbs_freesurfer8_metrics.csv"
    if not path.is_file():
        pytest.skip("needs the table of volumes in ../shared/data/real_tables: not there")
    found: dict[str, dict[str, float]] = {}
    with path.open() as stream:
        for row in csv.DictReader(stream):
            for session, volume in (("session1", "volume1"), ("session2", "volume2")):
                found.setdefault(row[session], {})[row["label"]] = float(row[volume])
    sessions = sorted(found)
    labels = sorted(found[sessions[0]])
    table = np.log([[found[session][label] for label in labels] for session in sessions])
    people = np.array([session.partition("_")[0] for session in sessions])
    sites = np.array([session.partition("_ses-")[2] for session in sessions])
    return table, people, sites


def between_sites(table, people):
    """Coefficient of variation of a person over sites, per cent, mean over people; median over
    regions."""
    own = [np.exp(table[people == p]) for p in sorted(set(people))]
    return 100 * np.median(np.mean([o.std(axis=0, ddof=1) / o.mean(axis=0) for o in own], axis=0))


def agreement(table, people):
    own = np.stack([np.exp(table[people == p]) for p in sorted(set(people))])
    return float(np.median([icc(own[:, :, region]).icc for region in range(own.shape[2])]))


def test_sites_differ_less_for_people_whom_nothing_was_learnt_from(volumes):
    table, people, sites = volumes
    left_out = leave_person_out(table, sites, people)
    assert np.isfinite(left_out).all()
    raw, others = between_sites(table, people), between_sites(left_out, people)
    # Published with the table: 4.50 %, and 3.34 % with the site means of others taken away.
    assert raw == pytest.approx(4.50, abs=0.01)
    assert others == pytest.approx(3.37, abs=0.05)
    # Learnt on the same people it looks better than it is.
    assert between_sites(combat(table, sites), people) == pytest.approx(3.07, abs=0.05)
    assert agreement(table, people) == pytest.approx(0.70, abs=0.005)
    assert agreement(left_out, people) == pytest.approx(0.79, abs=0.01)
