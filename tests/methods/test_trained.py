"""Methods with a model folder of their own: which network, which slices, what of bright voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft

from bids_harmony.exceptions import DataError, SiteError
from bids_harmony.imaging.spectrum import low_frequencies
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.simix import VIEWS
from bids_harmony.model.method_files import write_method
from bids_harmony.model.resnet import ResNetGenerator
from bids_harmony.model.slicewise import translate_volume
from bids_harmony.model.unet import UNet
from bids_harmony.sites.profile_files import write_profiles

CONFIGS = {"cgan": {"width": 2, "levels": 4}, "simix": {"width": 2, "blocks": 1}}
KINDS = {"cgan": UNet, "simix": ResNetGenerator}


def networks(method, count=2):
    torch.manual_seed(0)
    return [KINDS[method](**CONFIGS[method]).eval() for _ in range(count)]


@pytest.fixture
def load(world, tmp_path):
    """Write a model of a method with a network for GE's T1w and one for the FLAIR of all."""

    def make(method, places=(("T1w", "GE"), ("FLAIR", None)), **changes):
        made = networks(method, len(places))
        tensors = {f"{i}.{k}": v for i, n in enumerate(made) for k, v in n.state_dict().items()}
        about = [
            {"config": CONFIGS[method], "modality": modality, "source_site": site}
            for modality, site in places
        ]
        extra = {"version": "7", "target_site": "COI", "networks": about, **changes}
        write_profiles(tmp_path, world.profiles.values(), 5.0)
        write_method(tmp_path, method, tensors, extra)
        return load_harmonizer(method, tmp_path), made

    return make


def bright(world):
    """A scan whose brightest voxels are above 1."""
    scan = world.scan("GE")
    assert scan.data.max() > 1.02
    return scan, np.minimum(scan.data, 1), scan.data - np.minimum(scan.data, 1)


def test_pix2pix_translates_what_is_below_1_and_puts_the_rest_back(world, load):
    method, (own, _) = load("cgan")
    scan, shown, rest = bright(world)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    made = translate_volume(own, shown, scan.mask, multiple=16, signed=True)
    expected = np.where(scan.mask, np.maximum(made + rest, 0), 0)
    np.testing.assert_allclose(applied.data, expected, atol=1e-6)
    assert np.abs(applied.data - scan.data)[scan.mask].mean() > 0.01


def test_simix_is_the_mean_of_five_views(world, load):
    method, (own, _) = load("simix")
    scan, shown, rest = bright(world)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")

    def seen(data):
        return translate_volume(own, data, scan.mask, multiple=4, signed=False)

    first = seen(shown)
    inside = np.where(scan.mask, first, 0)
    views = [
        np.clip((1 - a) * shown + a * inside / inside.max(), 0, 1).astype(np.float32)
        for a in VIEWS
    ]
    assert len(VIEWS) == 4 and inside.max() > 0
    expected = np.mean([first, *map(seen, views)], axis=0) + rest
    np.testing.assert_allclose(
        applied.data, np.where(scan.mask, np.maximum(expected, 0), 0), atol=1e-5
    )


def test_a_network_without_signal_has_no_view_to_mix_in(world, load):
    method, _ = load("simix")
    with torch.no_grad():
        for parameter in method.network("T1w", "GE").parameters():
            parameter.zero_()
    scan, _, rest = bright(world)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    np.testing.assert_allclose(applied.data, rest * scan.mask, atol=1e-7)


def test_each_site_has_its_network_or_all_have_one(load):
    method, _ = load("cgan")
    assert method.network("T1w", "GE") is not method.network("FLAIR", "GE")
    assert method.network("FLAIR", "GE") is method.network("FLAIR", "COI")
    assert method.modalities() == {"T1w", "FLAIR"} and method.version == "7"
    with pytest.raises(SiteError, match=r"no network for 'COI' and T1w.*Expected: GE\.") as caught:
        method.network("T1w", "COI")
    assert caught.value.where == str(method.model_dir)


def test_a_method_of_one_target_knows_no_other(world, load):
    method, _ = load("cgan")
    assert method.targets("T1w") == ("COI",)
    # Neither a modality that it was not trained for nor one whose site nobody has seen.
    assert method.targets("T2w") == () and method.targets("FLAIR") == ()
    with pytest.raises(SiteError, match="cgan was not trained for 'GE' and T1w"):
        method.apply(world.scan("GE"), modality="T1w", source_site="GE", target_site="GE")


def test_a_method_of_every_target_knows_all_sites(load):
    method, _ = load("simix", target_site=None)
    assert method.targets("T1w") == ("COI", "GE") and method.target_site is None
    method.check_target("T1w", "GE")


def test_weights_count_in_what_a_result_depends_on(load):
    first, _ = load("cgan")
    second, _ = load("cgan", version="8")
    assert first.sha256 == second.sha256 and second.version == "8"
    third, _ = load("cgan", (("T1w", "GE"),))
    assert third.sha256 != first.sha256
    assert third.identity("T1w", "GE", "COI") != first.identity("T1w", "GE", "COI")


def test_weights_of_another_network_are_refused(load, monkeypatch):
    monkeypatch.setitem(CONFIGS, "cgan", {"width": 2, "levels": 4})
    about = [{"config": {"width": 3, "levels": 4}, "modality": "T1w", "source_site": "GE"}]
    with pytest.raises(DataError, match="do not fit the network") as caught:
        load("cgan", networks=about)
    assert "size mismatch" in str(caught.value)


def test_low_frequencies_of_every_slice_become_the_references(world, tmp_path):
    scan, reference = world.scan("GE"), world.scan("COI")
    wanted = low_frequencies(reference.data)
    write_profiles(tmp_path, world.profiles.values(), 5.0)
    extra = {"version": "1", "target_site": "COI"}
    write_method(tmp_path, "ssimh", {"T1w": torch.from_numpy(wanted)}, extra)
    method = load_harmonizer("ssimh", tmp_path)
    assert method.modalities() == {"T1w"} and method.targets("T1w") == ("COI",)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    spectrum = fft.dctn(scan.data.astype(np.float64), axes=(0, 1), norm="ortho")
    spectrum[:3, :3] = wanted
    made = fft.idctn(spectrum, axes=(0, 1), norm="ortho")
    np.testing.assert_allclose(
        applied.data, np.where(scan.mask, np.maximum(made, 0), 0), atol=1e-6
    )
    with pytest.raises(SiteError):
        method.apply(scan, modality="T1w", source_site="GE", target_site="GE")
