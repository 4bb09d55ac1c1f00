"""cGAN, SiMix and SSIMH from arrays: they learn, come back from disk, say what they are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_harmony.exceptions import DataError, SiteError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.simix import VIEWS
from bids_harmony.model.encoder import load_encoder
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.sites.profile_files import write_profiles
from bids_harmony.training.cgan import CGANOptions, fit_cgan
from bids_harmony.training.pairs import PairedScans
from bids_harmony.training.simix import SiMixOptions, fit_simix
from bids_harmony.training.ssimh import fit_ssimh

SHAPE = (28, 32, 12)
GRID = ReferenceGrid("toy", SHAPE, np.diag([6.0, 6, 6, 1]), 6.0)
ENCODER = load_encoder("random", widths=(2, 2, 2, 2))
WIDE = reference_grid(6.0).shape
MASK = np.zeros(SHAPE, bool)
MASK[4:-4, 4:-4, 1:-1] = True
#: Width, epochs and rate of a run of seconds.
CGAN = CGANOptions("B", epochs=100, max_steps=150, width=4, learning_rate=2e-3)
SIMIX = SiMixOptions("B", epochs=25, max_steps=150, width=4, blocks=1, learning_rate=2e-3)


def person(seed):
    """Blobs, and how another site sees them: darker, with another contrast."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2)
    data = np.where(MASK, 0.5 + 0.15 * noise / noise.std(), 0).clip(0, 1).astype(np.float32)
    return data, np.where(MASK, 0.9 - 0.6 * data, 0).astype(np.float32)


@pytest.fixture(scope="module")
def pairs():
    return [PairedScans(*person(s), MASK, str(s), "A", "T1w") for s in range(3)]


def profiles():
    scans = {"A": [], "B": []}
    for seed in range(2):
        for site, data in zip("AB", person(seed), strict=True):
            # Profiles are measured on the reference grid; these methods look at none of that.
            margin = [(0, wide - n) for wide, n in zip(WIDE, SHAPE, strict=True)]
            padded = np.pad(data, margin), np.pad(MASK, margin)
            scans[site].append((f"{site}{seed}", *padded, 1.0))
    return [
        build_profile(site, "T1w", s, ENCODER, cells=2, voxel_mm=6.0) for site, s in scans.items()
    ]


@dataclass
class Fit:
    folder: Path
    extra: dict


def fitted(method, pairs, options, folder):
    write_profiles(folder, profiles(), 6.0)
    if method == "cgan":
        return Fit(folder, fit_cgan(pairs, options, folder))
    return Fit(folder, fit_simix(pairs, options, folder, encoder=ENCODER))


@pytest.fixture(scope="module", params=["cgan", "simix"])
def fit(request, pairs, tmp_path_factory):
    method = request.param
    options = CGAN if method == "cgan" else SIMIX
    return method, fitted(method, pairs, options, tmp_path_factory.mktemp(method))


def applied(method, folder, data, **sites):
    asked = {"modality": "T1w", "source_site": "A", "target_site": "B"} | sites
    prepared = Prepared(data, MASK, 1.0, np.eye(4), GRID)
    return load_harmonizer(method, folder, batch_size=5).apply(prepared, **asked).data


def test_a_mapping_is_learned_and_carried_over_to_somebody_new(fit):
    method, made = fit
    source, target = person(77)
    result = applied(method, made.folder, source)
    error = np.abs(result - target)[MASK].mean()
    assert error < 0.6 * np.abs(source - target)[MASK].mean()
    assert not result[~MASK].any() and result.min() >= 0 and result.dtype == np.float32


def test_the_record_says_what_keeps_it_from_the_published_method(fit):
    method, made = fit
    departures = " ".join(made.extra["departures"])
    assert "width 4, not 64" in departures and "150 steps of" in departures
    assert ("relu2_2" in departures) == (method == "simix")
    (network,) = made.extra["networks"]
    assert network["source_site"] is None and network["pairs"] == ["0 A", "1 A", "2 A"]
    assert network["slices"] == 30 and network["steps"] == 150
    assert not list(made.folder.glob("*checkpoint*"))


def test_targets_are_those_of_the_training(fit):
    method, made = fit
    model = load_harmonizer(method, made.folder)
    assert model.sites("T1w") == ("A", "B") and model.targets("T1w") == ("B",)
    assert model.targets("T2w") == ()
    with pytest.raises(SiteError, match=f"--target-site A --method {method}"):
        applied(method, made.folder, person(0)[0], source_site="B", target_site="A")


def test_above_one_nothing_is_lost(fit):
    method, made = fit
    source = person(77)[0]
    bright = source.copy()
    at = np.unravel_index(source.argmax(), SHAPE)
    source[at], bright[at] = 1.0, 1.5
    difference = applied(method, made.folder, bright) - applied(method, made.folder, source)
    assert difference[at] == pytest.approx(0.5, abs=1e-6)
    difference[at] = 0
    assert not difference.any()


@pytest.mark.parametrize("method", ["cgan", "simix"])
def test_the_same_seed_gives_the_same_bytes(method, pairs, tmp_path):
    from dataclasses import replace

    short = replace(CGAN if method == "cgan" else SIMIX, max_steps=3, seed=4)
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        fitted(method, pairs, replace(short, seed=seed), tmp_path / name)
    a, b, c = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert a == b and a != c
    # What was saved is what is applied.
    one, two = (applied(method, tmp_path / n, person(9)[0]) for n in "ab")
    assert np.array_equal(one, two)


def test_one_network_per_site(pairs, tmp_path):
    from dataclasses import replace

    other = [PairedScans(p.source, p.target, MASK, p.subject, "C", "T1w") for p in pairs[:1]]
    options = replace(CGAN, max_steps=2, per_site=True)
    made = fitted("cgan", [*pairs, *other], options, tmp_path)
    assert [n["source_site"] for n in made.extra["networks"]] == ["A", "C"]
    source = person(9)[0]
    assert not np.array_equal(
        applied("cgan", tmp_path, source), applied("cgan", tmp_path, source, source_site="C")
    )
    with pytest.raises(SiteError, match="no network for 'D'"):
        applied("cgan", tmp_path, source, source_site="D")


def test_the_views_of_simix_all_start_from_the_first_result(pairs, tmp_path):
    from dataclasses import replace

    fitted("simix", pairs, replace(SIMIX, max_steps=2), tmp_path)
    model = load_harmonizer("simix", tmp_path)
    shown = []

    def half(network, data, mask):
        shown.append(data)
        return np.where(mask, data / 2, 0)

    model.translate = half
    x = person(3)[0]
    result = model.translated(None, x, MASK)
    first = x / 2 / (x / 2).max()
    expected = [np.clip((1 - a) * x + a * first, 0, 1) for a in VIEWS]
    assert np.allclose(shown[1:], expected, atol=1e-6)
    assert np.allclose(result, 0.2 * sum([x / 2, *(e / 2 for e in expected)]), atol=1e-6)


def test_no_pairs(tmp_path):
    with pytest.raises(DataError, match="no pairs"):
        fit_cgan([], CGAN, tmp_path)


def test_ssimh_keeps_one_seeded_scan_of_the_target(tmp_path):
    write_profiles(tmp_path, profiles(), 6.0)
    scans = [
        PreparedScan(f"{site}{seed}", str(seed), "T1w", site, data, MASK, 1.0)
        for seed in range(4)
        for site, data in zip("AB", person(seed), strict=True)
    ]
    extra = fit_ssimh(scans, "B", tmp_path, seed=0)
    reference = next(s for s in scans if s.label == extra["references"]["T1w"])
    assert reference.site == "B"
    assert np.abs(applied("ssimh", tmp_path, reference.data) - reference.data).max() < 1e-6
    result = applied("ssimh", tmp_path, person(9)[0])
    target = reference.data[MASK].mean()
    assert abs(result[MASK].mean() - target) < 0.3 * abs(person(9)[0][MASK].mean() - target)
    chosen = {fit_ssimh(scans, "B", tmp_path, seed=s)["references"]["T1w"] for s in range(12)}
    assert len(chosen) > 1
    assert fit_ssimh(scans[::-1], "B", tmp_path, seed=0) == extra
    with pytest.raises(DataError, match="no reference scan"):
        fit_ssimh(scans, "Z", tmp_path)


def test_networks_are_in_evaluation_mode_after_loading(fit):
    method, made = fit
    model = load_harmonizer(method, made.folder)
    (network,) = model.networks.values()
    assert not network.training and isinstance(network, torch.nn.Module)
