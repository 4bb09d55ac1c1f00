"""The level train as a function: a model folder that harmonizes, and honest refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_harmony.exceptions import DataError, MissingInput, SiteError, UsageError
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.landmarks import landmarks
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.sites.profile_files import PROFILES_FILE, read_profiles
from bids_harmony.training import adapt
from bids_harmony.training.adapt import network_config, train_model
from bids_harmony.training.pretrain import TwinLoss

VOXEL_MM = 6.0
GRID = reference_grid(VOXEL_MM)
QUICK = TrainingSettings(
    start=False,
    twin_steps=4,
    adapt_steps=2,
    twin_people=2,
    twin_scanners=3,
    batch=4,
    own_twins=0.0,
)


def scan(site, person, seed=0):
    data = acquire(person, SITES[site], "T1w", scan_seed=seed)
    scale = robust_scale(data, person.mask)
    return data / scale, person.mask, scale


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    found = []
    for s, site in enumerate(("COI", "GE")):
        for i in range(3):
            data, mask, scale = scan(site, make_anatomy(GRID, 10 * s + i), i)
            label = f"sub-{site}{i}_T1w"
            np.savez(folder / f"{label}.npz", data=data.astype(np.float16), mask=mask, scale=scale)
            path = folder / f"{label}.npz"
            found.append(TrainingScan(label, f"{site}{i}", "T1w", site, path))
    return found


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return Settings(
        folder / "bids", folder / "out", "train", voxel_mm=VOXEL_MM, nprocs=1, training=QUICK
    )


@pytest.fixture(scope="module")
def model(scans, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    train_model(scans, settings, folder)
    return folder


def prepared(site, seed=77):
    person = make_anatomy(GRID, seed)
    data, mask, scale = scan(site, person, seed)
    return Prepared(data, mask, scale, np.eye(4), GRID)


def test_the_model_harmonizes_between_its_sites(model):
    harmonizer = load_harmonizer("ihf", model)
    source = prepared("GE")
    applied = harmonizer.apply(source, modality="T1w", source_site="GE", target_site="COI")
    assert harmonizer.sites("T1w") == ("COI", "GE") and harmonizer.voxel_mm == VOXEL_MM
    assert applied.data.shape == source.data.shape and not applied.data[~source.mask].any()
    assert np.abs(applied.data - source.data)[source.mask].mean() > 0.02
    assert applied.round_trip_error < 1e-5


def test_a_scan_of_the_target_site_comes_back_to_the_bit(model):
    source = prepared("COI")
    applied = load_harmonizer("ihf", model).apply(
        source, modality="T1w", source_site="COI", target_site="COI"
    )
    assert np.array_equal(applied.data, source.data)


@pytest.mark.parametrize("method", ["histogram-ratio", "histogram-fit"])
def test_closed_forms_use_the_same_profiles(model, method):
    source = prepared("GE")
    harmonizer = load_harmonizer(method, model)
    applied = harmonizer.apply(source, modality="T1w", source_site="GE", target_site="COI")
    twin = scan("COI", make_anatomy(GRID, 77))[0]
    before = np.abs(source.data - twin)[source.mask].mean()
    assert np.abs(applied.data - twin)[source.mask].mean() < before


def test_histogram_matching_meets_the_landmarks_of_the_target(model):
    source = prepared("GE")
    harmonizer = load_harmonizer("histogram", model)
    applied = harmonizer.apply(source, modality="T1w", source_site="GE", target_site="COI")
    wanted = harmonizer.profile("T1w", "COI").landmarks
    assert np.allclose(landmarks(applied.data, source.mask), wanted, atol=0.01)


def test_the_same_training_gives_the_same_bytes(scans, settings, model, tmp_path):
    train_model(list(reversed(scans)), settings, tmp_path)
    for name in ("model.safetensors", PROFILES_FILE):
        assert (tmp_path / name).read_bytes() == (model / name).read_bytes()


def test_profiles_survive_the_trip_to_disk(model, scans):
    profiles, voxel_mm = read_profiles(model)
    profile = profiles["COI", "T1w"]
    assert voxel_mm == VOXEL_MM
    assert profile.scans == tuple(s.label for s in scans if s.site == "COI")
    assert profile.mean_image.dtype == np.float32 and (np.diff(profile.landmarks) > 0).all()
    assert 0.3 < profile.mean_image[profile.mask].mean() < 1


def test_adaptation_is_reported_and_a_worse_one_thrown_away(scans, settings, tmp_path):
    wild = replace(settings, training=replace(QUICK, adapt_steps=4, learning_rate=3.0))
    extra = train_model(scans, wild, tmp_path / "wild")
    assert extra["adaptation"]["done"] and not extra["adaptation"]["kept"]
    none = replace(settings, training=replace(QUICK, adapt_steps=0))
    train_model(scans, none, tmp_path / "none")
    first, second = (load_harmonizer("ihf", tmp_path / n) for n in ("wild", "none"))
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])


def test_a_start_of_several_members_keeps_the_others(scans, settings, tmp_path, monkeypatch):
    made = []

    def start(network, encoder):
        torch.manual_seed(5)
        other = IHFNetwork(network.config, network.code_length)
        made.append(other)
        return True

    monkeypatch.setattr(adapt, "read_start", start)
    monkeypatch.setattr(adapt, "load_members", lambda *_: ((None, *made), {}))
    asked = replace(settings, training=replace(QUICK, start=True))
    train_model(scans, asked, tmp_path)
    first, second = load_harmonizer("ihf", tmp_path).members
    for name, value in made[0].state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
    assert any(not torch.equal(v, second.state_dict()[n]) for n, v in first.state_dict().items())


def test_twins_of_the_own_sites_are_trained_on_and_told(scans, settings, tmp_path):
    asked = replace(QUICK, own_twins=1.0, adapt_steps=0)
    told = train_model(scans, replace(settings, training=asked), tmp_path)["twins"]
    assert [(f["site"], f["modality"]) for f in told["fits"]] == [("COI", "T1w")] * 3 + [
        ("GE", "T1w")
    ] * 3
    assert told["own_unseen"]["pairs"] == 8 and told["own_unseen"] != told["unseen"]
    assert told["own_unseen"]["closed_form"] < told["own_unseen"]["raw"]
    none = train_model(scans, replace(settings, training=QUICK), tmp_path / "none")["twins"]
    assert none["fits"] == [] and none["own_unseen"] is None


def test_without_twins_a_model_is_profiles_and_adaptation(scans, settings, tmp_path):
    extra = train_model(scans, replace(settings, training=replace(QUICK, twin_steps=0)), tmp_path)
    assert extra["twins"]["unseen"] is None and extra["adaptation"]["done"]
    assert load_harmonizer("ihf", tmp_path).sites("T1w") == ("COI", "GE")


def test_twins_are_trained_with_the_weights_of_the_settings_and_a_persons_contrast(
    scans, settings, tmp_path, monkeypatch
):
    class Stop(Exception):
        pass

    def stop(*_, loss, **__):
        raise Stop(loss)

    monkeypatch.setattr("bids_harmony.training.twin_stage.pretrain", stop)
    asked = replace(QUICK, twin_absolute=2.0, twin_squared=3.0)
    with pytest.raises(Stop) as found:
        train_model(scans, replace(settings, training=asked), tmp_path)
    assert found.value.args == (TwinLoss(absolute=2.0, squared=3.0, contrast=20.0),)


def test_a_network_is_the_preset_with_the_changes_asked_for():
    assert network_config(TrainingSettings()) == preset("local")
    asked = TrainingSettings(preset="paper", relative=True, aan="residual", grid=4,
                             recursion="mean")  # fmt: skip
    config = network_config(asked)
    assert (config.aan.relative, config.aan.mode, config.aan.grid) == (True, "residual", 4)
    assert config.recursion == "mean" and config.channels == preset("paper").channels
    assert not network_config(TrainingSettings(relative=False)).aan.relative
    with pytest.raises(UsageError, match="Unknown preset"):
        network_config(TrainingSettings(preset="nonsense"))


def test_one_site_is_nothing_to_harmonize(scans, settings, tmp_path):
    with pytest.raises(DataError, match="at least two sites"):
        train_model([s for s in scans if s.site == "GE"], settings, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_unknown_sites_and_missing_or_damaged_profiles_are_named(model, tmp_path):
    with pytest.raises(SiteError, match=r"no site 'MARS'.*COI, GE"):
        load_harmonizer("ihf", model).apply(
            prepared("GE"), modality="T1w", source_site="MARS", target_site="COI"
        )
    with pytest.raises(MissingInput, match="no site profiles"):
        load_harmonizer("ihf", tmp_path)
    (tmp_path / PROFILES_FILE).write_bytes((model / PROFILES_FILE).read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read"):
        load_harmonizer("ihf", tmp_path)
