"""One door for all methods: what it writes can be loaded and applied, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.exceptions import DataError, MissingInput, UsageError
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.training import cgan as room
from bids_harmony.training.fit import fit_method

VOXEL_MM = 8.0
GRID = reference_grid(VOXEL_MM)
QUICK = TrainingSettings(paired_width=2, paired_steps=2, bank_size=2)
MASK = np.zeros(GRID.shape, bool)
MASK[5:-5, 5:-5, 5:-5] = True


def image(person, site):
    rng = np.random.default_rng(person)
    data = np.where(MASK, 0.3 + 0.5 * rng.random(GRID.shape), 0)
    return (data if site == "A" else np.where(MASK, 1 - data / 2, 0)).astype(np.float32)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    found = []
    for person in (1, 2):
        for site in ("A", "B"):
            path = folder / f"sub-{person}_ses-{site}_T1w.npz"
            data = image(person, site).astype(np.float16)
            np.savez(path, data=data, mask=MASK, scale=1.0)
            found.append(TrainingScan(path.stem, str(person), "T1w", site, path))
    return found


@pytest.fixture
def settings(tmp_path):
    return Settings(
        tmp_path / "bids", tmp_path / "out", "train", target_site="B", voxel_mm=VOXEL_MM,
        nprocs=1, device="cpu", training=QUICK,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def quick_bias(monkeypatch):
    """N4 is tested with the histogram methods; here it takes a gain off."""
    for place in ("bids_harmony.training.histogram_n4", "bids_harmony.methods.histogram_n4"):
        monkeypatch.setattr(f"{place}.without_bias", lambda data, mask, grid: data / 2)


@pytest.mark.parametrize("method", [m for m in REGISTRY if m != "ihf"])
def test_what_is_fitted_can_be_applied(method, scans, settings, tmp_path):
    extra = fit_method(method, scans, settings, tmp_path / "m")
    assert extra["version"]
    model = load_harmonizer(method, tmp_path / "m")
    assert model.sites("T1w") == ("A", "B") and model.name == method
    needs = REGISTRY[method]
    assert model.targets("T1w") == (("B",) if needs.target_at_training else ("A", "B"))
    prepared = Prepared(image(3, "A"), MASK, 1.0, np.eye(4), GRID)
    asked = {"modality": "T1w", "source_site": "A", "target_site": "B"}
    applied = model.apply(prepared, **asked)
    assert applied.data.dtype == np.float32 and applied.data.shape == GRID.shape
    assert applied.data.min() >= 0 and not applied.data[~MASK].any()
    changed = not np.array_equal(applied.data, prepared.data)
    assert changed == (method != "none")
    assert np.array_equal(
        load_harmonizer(method, tmp_path / "m").apply(prepared, **asked).data, applied.data
    )


def test_landmarks_of_n4_are_those_of_corrected_scans(scans, settings, tmp_path):
    extra = fit_method("histogram-n4", scans, settings, tmp_path)
    model = load_harmonizer("histogram-n4", tmp_path)
    assert np.allclose(model.landmarks["B", "T1w"] * 2, model.profile("T1w", "B").landmarks)
    assert [place["site"] for place in extra["landmarks"]] == ["A", "B"]


def test_pairs_are_of_the_same_subject(scans, settings, tmp_path):
    extra = fit_method("cgan", scans, settings, tmp_path)
    assert extra["networks"][0]["pairs"] == ["1 A", "2 A"]
    assert extra["target_site"] == "B" and extra["networks"][0]["steps"] == 2


def test_the_default_goes_to_its_own_training(scans, settings, tmp_path, monkeypatch):
    import bids_harmony.training.adapt as adapt

    seen = []
    monkeypatch.setattr(adapt, "train_model", lambda *a: seen.append(a) or {"version": "x"})
    assert fit_method("ihf", scans, settings, tmp_path) == {"version": "x"}
    assert seen == [(scans, settings, tmp_path)]


def test_refusals_leave_nothing_behind(scans, settings, tmp_path):
    out = tmp_path / "m"
    with pytest.raises(UsageError, match="Unknown method"):
        fit_method("magic", scans, settings, out)
    with pytest.raises(UsageError, match="--target-site"):
        fit_method("simix", scans, replace(settings, target_site=None), out)
    with pytest.raises(DataError, match="at least two sites"):
        fit_method("none", scans[::2], settings, out)
    strangers = [replace(s, subject=s.label) for s in scans]
    with pytest.raises(DataError, match="no travelling subjects"):
        fit_method("cgan", strangers, settings, out)
    with pytest.raises(DataError, match=r"no training scan of the target site.*A, B"):
        fit_method("ssimh", scans, replace(settings, target_site="Z"), out)
    assert not out.exists()


def test_a_folder_of_another_method_serves_those_that_are_not_trained(scans, settings, tmp_path):
    fit_method("ssimh", scans, settings, tmp_path)
    assert load_harmonizer("histogram", tmp_path).sites("T1w") == ("A", "B")
    with pytest.raises(DataError, match="another method"):
        load_harmonizer("cgan", tmp_path)
    fit_method("none", scans, settings, tmp_path / "none")
    with pytest.raises(MissingInput, match="--method ssimh"):
        load_harmonizer("ssimh", tmp_path / "none")


def test_resuming_can_be_refused(scans, settings, tmp_path, monkeypatch):
    old = tmp_path / "cgan-0_checkpoint.safetensors"
    seen = []
    monkeypatch.setattr(room, "fit_cgan", lambda *a: seen.append(old.exists()) or {})
    for resume in (True, False):
        old.write_bytes(b"x")
        training = replace(QUICK, resume=resume)
        fit_method("cgan", scans, replace(settings, training=training), tmp_path)
    assert seen == [True, False]
