"""The closed form written out: fields and points of curves do what it did."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.methods.change_parts import LEVELS, change_parts
from bids_harmony.methods.site_forms import closed_form, closed_map
from bids_harmony.methods.tissue_form import TissueMap
from tests.two_sites import GRID, world

__all__ = ["world"]


@pytest.fixture(scope="module")
def made(world):
    prepared = world.scan("GE")
    pair = world.profiles["GE"], world.profiles["COI"]
    by = closed_map(prepared.data, prepared.mask, *pair, GRID.voxel_mm)
    result = closed_form(prepared.data, prepared.mask, *pair, GRID.voxel_mm)
    return prepared, by, result


def curve_of(parts, tissue):
    rows = [point for point in parts.curves if point.tissue == tissue]
    return np.array([(p.quantile, p.source, p.target, p.standard_error) for p in rows]).T


def test_fields_and_the_curve_of_the_brain_give_the_closed_form_back(made):
    prepared, by, result = made
    parts = change_parts(prepared, by)
    assert parts.blur.max() < 1e-9  # else more than fields and curves would be needed
    _, source, target, _ = curve_of(parts, "brain")
    flat = prepared.scale * prepared.data * np.exp(-parts.log_field_out)
    mapped = np.exp(parts.log_field_in) * np.interp(flat, source, target) / prepared.scale
    again = prepared.data + parts.share * (mapped - prepared.data)
    error = np.abs(again - result)[prepared.mask]
    assert np.abs(result - prepared.data)[prepared.mask].mean() > 0.02
    assert error.max() < 0.003 and error.mean() < 3e-4


def test_curves_of_tissues_lie_on_that_of_the_brain_in_the_scan_s_unit(made):
    prepared, by, _ = made
    parts = change_parts(prepared, by)
    _, source, target, _ = curve_of(parts, "brain")
    middles = {}
    for tissue in ("gray matter", "white matter", "CSF"):
        quantile, own, goal, _ = curve_of(parts, tissue)
        assert np.array_equal(quantile, LEVELS)
        assert (np.diff(own) >= 0).all() and (np.diff(goal) >= -1e-3 * prepared.scale).all()
        assert np.allclose(goal, np.interp(own, source, target), atol=0.003 * prepared.scale)
        middles[tissue] = own[50]
    # T1w, in the unit of the file.
    assert middles["CSF"] < middles["gray matter"] < middles["white matter"]
    assert 0.5 * prepared.scale < middles["white matter"] < prepared.scale


def test_errors_are_those_of_the_sites_and_white_matter_has_none(made):
    prepared, by, _ = made
    parts = change_parts(prepared, by)
    for tissue, log_error in zip(
        ("gray matter", "white matter", "CSF"), by.log_errors, strict=True
    ):
        _, _, goal, error = curve_of(parts, tissue)
        assert error == pytest.approx(goal * log_error)
    assert by.log_errors[0] > 0 and by.log_errors[1] == 0
    assert np.isnan(curve_of(parts, "brain")[3]).all()


def test_of_a_scan_at_its_target_or_left_as_it_is_nothing_is_applied(made):
    prepared, by, _ = made
    at_target = change_parts(prepared, TissueMap.nothing())
    assert not (at_target.log_field_out.any() or at_target.log_field_in.any())
    for tissue in ("gray matter", "brain"):
        _, source, target, _ = curve_of(at_target, tissue)
        assert target == pytest.approx(source, rel=1e-5)
    assert at_target.share == 0
    assert change_parts(prepared, by, left=True).share == 0 < change_parts(prepared, by).share
