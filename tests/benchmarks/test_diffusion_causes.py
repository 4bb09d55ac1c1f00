"""Causes of differences between simulated scanners: every setting has one; how CoV is taken."""

import importlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from lab.diffusion_scanner import DiffusionScanner
from lab.real_sized_sites import REAL_SIZED_SITES

#: Of no consequence for maps, or drawn alike where a cause is alone.
_OWN = {"site", "vendor", "model", "serial", "gain", "bias_seed", "bias_log_sd", "scan_bias"}


@pytest.fixture
def causes(monkeypatch):
    # Benchmarks are programs that find one another beside them.
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("diffusion_causes")


def test_every_setting_has_one_cause(causes):
    named = [name for names in causes.CAUSES.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) == {f.name for f in fields(DiffusionScanner)} - _OWN


def test_the_middle_scanner_has_the_median_of_numbers(causes):
    one, *_ = REAL_SIZED_SITES.values()
    sites = [replace(one, noise=n, channels=c) for n, c in ((0.05, 4), (0.02, 1), (0.03, 1))]
    middle = causes.middle_scanner(sites)
    assert (middle.noise, middle.channels) == (0.03, 1)
    assert (middle.shells, middle.site, middle.bias_seed) == (one.shells, "RS1", 5001)
    assert not causes.middle_scanner(list(REAL_SIZED_SITES.values())).denoised


def test_variation_is_within_people_over_what_all_scans_saw(causes):
    def scan(fa, md, **more):
        return {1: {"fa": fa, "md": md}, 2: {"fa": 2 * fa, "md": md}} | more

    first = [scan(0.4, 0.7), scan(0.5, 0.7), scan(0.6, 0.7)]
    # A cube that one scan lacks counts for nobody; a scan without a measure not for it.
    first[0][3] = {"fa": 9.0, "md": 1.0}
    found = causes._between([first], ("fa", "md"))
    assert found == {"fa": pytest.approx(20.0), "md": 0.0}
    second = [scan(0.45, 0.7), scan(0.55, 0.7)]
    both = causes._between([first, second], ("fa",))
    expected = np.sqrt((0.1**2 + 0.005) / 2) / 0.5
    assert both["fa"] == pytest.approx(100 * expected, abs=1e-3)
