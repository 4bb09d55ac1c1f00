"""A site is the median of its series; a mean of sites counts each of them once."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.exceptions import DataError
from bids_harmony.sites.mean_site import mean_series_profile
from bids_harmony.sites.series_profile import SeriesProfile


def scan(water, noise, shells=(1000.0,)):
    return SeriesMeasures(noise, water, {b: (0.1, float("nan")) for b in shells},
                    {b: tuple(np.linspace(0, b, 101)) for b in shells})  # fmt: skip


def test_a_site_is_the_median_of_its_scans():
    look = SeriesProfile("GE", (
        ("a", scan(3.0e-3, 0.01)), ("b", scan(float("nan"), 0.03)), ("c", scan(3.2e-3, 0.02)),
        ("d", scan(3.1e-3, 0.5, (700.0, 1000.0))),
    ))  # fmt: skip
    assert look.water == pytest.approx(3.1e-3) and look.noise == pytest.approx(0.025)
    assert look.shells == (700.0, 1000.0) and look.labels == ("a", "b", "c", "d")
    assert look.levels(1000.0).shape == (4, 2) and look.levels(700.0).shape == (1, 2)
    assert look.quantiles(700.0)[-1] == 700


def test_a_look_survives_its_file_and_a_damaged_file_is_told(tmp_path):
    look = SeriesProfile("site <ä>", (("a", scan(float("nan"), 0.01)),))
    look.write(tmp_path / "look.json")
    again = SeriesProfile.read(tmp_path / "look.json")
    assert again.digest == look.digest and again.site == look.site
    changed = SeriesProfile("site <ä>", (("a", scan(3e-3, 0.01)),))
    assert changed.digest != look.digest
    for text in ("{", '{"site": "a"}', '{"site": "a", "scans": [["x", {"noise": 1}]]}', "[]"):
        (tmp_path / "look.json").write_text(text)
        with pytest.raises(DataError, match="cannot be read"):
            SeriesProfile.read(tmp_path / "look.json")


def test_the_floor_has_the_channels_of_the_site_and_stays_where_noise_was_taken_away():
    def of(noise, water_noise, channels):
        look = replace(scan(3e-3, noise), water_noise=water_noise, channels=channels)
        return SeriesProfile("A", tuple((str(n), look) for n in range(2)))

    assert of(0.05, 0.055, 4.0).floor(0.06) == Noise(0.06, 4.0)
    assert of(0.01, 0.06, 9.0).floor(0.01) == Noise(pytest.approx(0.05), 9.0)
    assert of(0.05, float("nan"), float("nan")).floor(0.06) == Noise(0.06)
    assert of(0.05, 0.055, 4.0).floor(float("nan")) == Noise(0.0)


def of(site, *scans):
    return SeriesProfile(site, tuple((f"{site}{n}", own) for n, own in enumerate(scans)))


def test_each_site_of_a_mean_counts_once_in_logarithms():
    many = of("many", *(scan(3.2e-3, 0.04) for _ in range(9)))
    few = of("few", scan(3.0e-3, 0.01))
    mean = mean_series_profile([many, few])
    assert mean.site == "mean" and mean.members == {"few": 1, "many": 9}
    assert mean.labels == ("few0", *(f"many{n}" for n in range(9)))
    assert mean.noise == pytest.approx(0.02)
    assert mean.water == pytest.approx(np.sqrt(3.2e-3 * 3.0e-3))
    assert mean.parts == (few, many) and few.parts == (few,) and few.members == {}
    # A site that does not show free water says nothing of it, and does not spoil it.
    dark = of("dark", scan(float("nan"), 0.01), scan(float("nan"), 0.01))
    assert mean_series_profile([dark, few]).water == pytest.approx(3.0e-3)
    assert np.isnan(mean_series_profile([dark, of("x", scan(float("nan"), 0.1))]).water)
    bright = replace(scan(3e-3, 0.1), quantiles={1000.0: (2.0,) * 101})
    dull = replace(scan(3e-3, 0.1), quantiles={1000.0: (1.0,) * 101})
    mean = mean_series_profile([of("A", bright), of("B", dull, dull, dull)])
    assert mean.quantiles(1000.0).tolist() == [1.5] * 101


def test_a_mean_has_the_shells_of_all_its_sites_and_says_which_are_left_out():
    one = of("A", scan(3e-3, 0.01, (1000.0, 3000.0)), scan(3e-3, 0.01, (1000.0,)))
    other = of("B", scan(3e-3, 0.01, (700.0, 950.0, 3000.0)))
    third = of("C", scan(3e-3, 0.01, (1000.0,)))
    mean = mean_series_profile([one, other, third])
    # 950 and 1000 s/mm2 are one shell.
    assert mean.shells == (950.0, 1000.0)
    assert mean.left_out == {"A": (3000.0,), "B": (700.0, 3000.0)}
    assert mean_series_profile([one, one, third]).left_out == {"A": (3000.0,)}
    assert one.left_out == {}
    assert mean.quantiles(1000.0)[-1] == pytest.approx((1000 + 950 + 1000) / 3)
    with pytest.raises(DataError, match=r"no shell in common.*A: b=1000, b=3000; D: b=2000"):
        mean_series_profile([one, of("D", scan(3e-3, 0.01, (2000.0,)))])
    with pytest.raises(DataError, match="two or more"):
        mean_series_profile([one, one])


def test_a_mean_survives_its_file(tmp_path):
    mean = mean_series_profile([of("A", scan(3e-3, 0.01)), of("B", scan(3e-3, 0.02))])
    mean.write(tmp_path / "look.json")
    again = SeriesProfile.read(tmp_path / "look.json")
    assert again.groups == ("A", "B") and again.digest == mean.digest
    # Who belongs to which site counts.
    assert replace(mean, groups=("B", "A")).digest != mean.digest
    text = (tmp_path / "look.json").read_text().replace('"A",\n', "")
    (tmp_path / "look.json").write_text(text)
    with pytest.raises(DataError, match="1 sites for 2 scans"):
        SeriesProfile.read(tmp_path / "look.json")
