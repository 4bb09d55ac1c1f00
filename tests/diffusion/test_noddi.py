from __future__ import annotations

import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion import noddi
from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.noddi import fit_noddi, noddi_possible
from bids_harmony.exceptions import DataError, ExitCode, ImageError, MissingProgram, TryAgain
from tests.gradient_schemes import scheme, spread_directions, tensor_signal

MAPS = ("ndi", "odi", "fwf")


@pytest.fixture(scope="module")
def amico():
    return pytest.importorskip("amico", reason="needs the extra noddi (dmri-amico)")


@pytest.fixture(scope="module")
def ours(amico, noisy, multishell, tmp_path_factory):
    """Maps of the noisy series, and what the fit left in its folder."""
    work = tmp_path_factory.mktemp("ours")
    return fit_noddi(*noisy, multishell, work), os.listdir(work)


def test_numbers_are_those_of_amico(amico, ours, noisy, multishell, tmp_path, monkeypatch):
    data, mask = noisy
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "dwi.nii")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.eye(4)), tmp_path / "mask.nii")
    table = np.column_stack([multishell.bvecs, multishell.bvals])
    np.savetxt(tmp_path / "s.scheme", table, fmt="%.17g", header="VERSION: BVECTOR", comments="")
    monkeypatch.setattr(amico.lut, "dipy_home", str(tmp_path))
    amico.lut.precompute_rotation_matrices(12, 500)
    direct = amico.Evaluation(str(tmp_path), ".")
    direct.set_config("nthreads", 1)
    direct.load_data("dwi.nii", "s.scheme", "mask.nii", b0_thr=0)
    direct.set_model("NODDI")
    direct.generate_kernels(regenerate=True)
    direct.load_kernels()
    direct.fit()

    maps, _ = ours
    assert direct.model.maps_name[:3] == ["NDI", "ODI", "FWF"]
    for i, name in enumerate(MAPS):
        values = getattr(maps, name)
        assert values.dtype == np.float32 and values.shape == mask.shape
        np.testing.assert_array_equal(values, direct.RESULTS["MAPs"][..., i])
    np.testing.assert_array_equal(maps.fitted, mask)


def test_maps_are_fractions_and_not_constant(ours, noisy):
    maps, _ = ours
    for name in MAPS:
        values = getattr(maps, name)[noisy[1]]
        assert values.min() >= 0 and values.max() <= 1
        assert values.std() > 0.01
        assert not getattr(maps, name)[~noisy[1]].any()


def test_nothing_stays_behind(ours, amico):
    _, left = ours
    assert left == []
    assert "amico-" not in str(amico.lut.dipy_home)


def test_no_bit_depends_on_the_parts_or_on_jitter(
    ours, noisy, multishell, tmp_path, capfd, monkeypatch
):
    # 13 voxels in parts of 4 and fewer; b-values scatter around the same medians.
    data, mask = noisy
    part = mask & (np.cumsum(mask).reshape(mask.shape) <= 13)
    bvals = multishell.bvals.copy()
    bvals[[2, 3, 14, 15]] += [5, -5, 12.25, -12.25]
    jittered = Gradients(bvals, multishell.bvecs)
    monkeypatch.setattr("bids_harmony.diffusion.noddi.VOXELS_AT_ONCE", 4)
    maps = fit_noddi(data, part, jittered, tmp_path)
    for name in MAPS:
        np.testing.assert_array_equal(getattr(maps, name)[part], getattr(ours[0], name)[part])
    assert capfd.readouterr().out == ""


def test_kernels_are_shared_by_fits_of_one_scheme_only(
    ours, amico, noisy, multishell, tmp_path, monkeypatch
):
    data, mask = noisy
    fit_noddi(data, mask, multishell, tmp_path)
    built = []
    generate = amico.Evaluation.generate_kernels
    monkeypatch.setattr(
        amico.Evaluation,
        "generate_kernels",
        lambda self, **how: (built.append(1), generate(self, **how)),
    )
    again = fit_noddi(data, mask, multishell, tmp_path)
    assert not built
    # The same numbers of volumes and shells, other directions: AMICO itself would not notice.
    turned = Gradients(multishell.bvals, multishell.bvecs[:, [1, 2, 0]] * [1, -1, 1])
    other = fit_noddi(data, mask, turned, tmp_path)
    assert len(built) == 1
    noddi.kernels.cache_clear()
    anew = fit_noddi(data, mask, turned, tmp_path)
    for name in MAPS:
        np.testing.assert_array_equal(getattr(again, name), getattr(ours[0], name))
        np.testing.assert_array_equal(getattr(other, name), getattr(anew, name))


def test_a_single_voxel_is_fitted(ours, noisy, multishell, tmp_path):
    data, mask = noisy
    one = np.zeros_like(mask)
    one[tuple(np.argwhere(mask)[3])] = True
    maps = fit_noddi(data, one, multishell, tmp_path)
    for name in MAPS:
        np.testing.assert_array_equal(getattr(maps, name)[one], getattr(ours[0], name)[one])
    assert np.count_nonzero(maps.fitted) == 1


@pytest.mark.parametrize("lost", [0, np.nan])
def test_a_volume_that_was_not_measured_leaves_the_maps_as_they_are(
    amico, noisy, multishell, tmp_path, lost
):
    data = np.tile(tensor_signal(multishell, np.diag([1.7e-3, 3e-4, 3e-4])), (3, 1, 1, 1))
    data = data.astype(np.float32)
    mask = np.ones((3, 1, 1), bool)
    data[1, 0, 0, 0] = lost  # of two b=0
    data[2, 0, 0, 5] = lost  # of twelve at b=1000
    maps = fit_noddi(data, mask, multishell, tmp_path)
    assert maps.fitted.all() and maps.incomplete == 2
    for name in MAPS:
        values = getattr(maps, name)[:, 0, 0]
        np.testing.assert_allclose(values[1], values[0], atol=1e-6)
        np.testing.assert_allclose(values[2], values[0], atol=0.08)


def test_dark_signals_of_zero_are_what_is_left_of_water(multishell):
    signals = np.tile(tensor_signal(multishell, np.diag([3e-3] * 3)), (2, 1)).astype(np.float32)
    signals[1, 20] = 0  # at b=2500 its neighbours are at 5e-4 of the b=0
    completed, lost = noddi.completed(signals, multishell)
    assert lost == 0
    np.testing.assert_array_equal(completed, signals)


def test_an_exit_of_amico_is_an_error_with_its_words(
    amico, noisy, multishell, tmp_path, monkeypatch
):
    from amico.util import ERROR

    def give_up(self, *_, **__):
        ERROR("the kernels are gone")

    noddi.kernels.cache_clear()
    monkeypatch.setattr(amico.lut, "precompute_rotation_matrices", lambda *_: None)
    monkeypatch.setattr(amico.Evaluation, "generate_kernels", give_up)
    before = amico.lut.dipy_home, amico.get_verbose()
    with pytest.raises(DataError, match="the kernels are gone"):
        fit_noddi(*noisy, multishell, tmp_path)
    assert (amico.lut.dipy_home, amico.get_verbose()) == before
    assert os.listdir(tmp_path) == []


def test_without_amico_the_extra_is_named(noisy, multishell, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "amico", None)
    with pytest.raises(MissingProgram, match=r"bids_harmony\[noddi\]") as caught:
        fit_noddi(*noisy, multishell, tmp_path)
    assert caught.value.exit_code is ExitCode.MISSING_PROGRAM


def test_amico_that_cannot_be_loaded_for_lack_of_memory_is_not_missing(
    noisy, multishell, tmp_path, monkeypatch
):
    class Full:
        def find_spec(self, name, path=None, target=None):
            if name == "amico":
                raise ImportError("lut.so: failed to map segment from shared object")

    for name in [n for n in sys.modules if n == "amico" or n.startswith("amico.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Full(), *sys.meta_path])
    with pytest.raises(TryAgain, match="Out of memory"):
        fit_noddi(*noisy, multishell, tmp_path)


def test_loggers_stay_what_they_were(amico):
    script = """
import logging
from bids_harmony.diffusion.noddi import import_amico

def everything():
    root = logging.getLogger()
    return logging.getLoggerClass(), root.level, list(root.handlers)

class Own(logging.Logger):
    pass

logging.setLoggerClass(Own)
before = everything()
import_amico()
assert everything() == before, everything()
changed = [
    name for name in logging.root.manager.loggerDict
    if type(logging.getLogger(name)).__module__.startswith("dicelib") and name != "ui"
]
assert not changed, changed
logging.getLogger("somebody").error("%s of %d", "one", 2)
print("still there")
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "still there\n"), run.stderr
    assert run.stderr.splitlines()[-1] == "one of 2"


def test_nothing_to_fit_is_refused_before_amico_starts(noisy, multishell, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "amico", None)
    with pytest.raises(ImageError, match="empty mask"):
        fit_noddi(noisy[0], np.zeros_like(noisy[1]), multishell, tmp_path)


@pytest.mark.parametrize(
    ("shells", "possible", "words"),
    [
        (((1000, 30), (2000, 60)), True, r"2 non-zero shells: b=1000 \(30 volumes\), b=2000"),
        (((700, 6), (2000, 6)), True, "2 non-zero shells"),
        (((1000, 30),), False, r"needs 2 .* has b=1000 \(30 volumes\)"),
        (((1000, 30), (2000, 5)), False, r"at least 6 volumes.*b=2000 \(5 volumes\)"),
        (((1000, 30), (1050, 30)), False, r"b=1000 \(60 volumes\)|b=1050 \(60 volumes\)"),
    ],
)
def test_two_shells_are_needed_and_the_reason_is_told(shells, possible, words, tmp_path, noisy):
    import re

    gradients = scheme(*shells)
    answer, reason = noddi_possible(gradients)
    assert answer is possible
    assert re.search(words, reason)
    if not possible:
        data = np.ones((2, 2, 2, len(gradients.bvals)), np.float32)
        with pytest.raises(DataError, match="NODDI needs 2") as caught:
            fit_noddi(data, np.ones((2, 2, 2), bool), gradients, tmp_path)
        assert caught.value.exit_code is ExitCode.BAD_DATA


def test_known_compartments_are_ordered(amico, tmp_path):
    # Free water; sticks all along x in no free water; sticks in all directions.
    gradients = scheme((1000, 30), (2500, 60))
    b, d = gradients.bvals, 1.7e-3
    water = np.exp(-b * 3e-3)
    along = np.exp(-b * d * gradients.bvecs[:, 0] ** 2)
    everywhere = np.exp(-b * d * (gradients.bvecs @ spread_directions(200).T).T ** 2).mean(axis=0)
    data = 500 * np.stack([water, along, everywhere]).astype(np.float32)[:, None, None]
    maps = fit_noddi(data, np.ones((3, 1, 1), bool), gradients, tmp_path)
    ndi, odi, fwf = (getattr(maps, name).ravel() for name in MAPS)
    assert fwf[0] > 0.95 and fwf[1:].max() < 0.05
    assert ndi[1:].min() > 0.9
    assert odi[1] < 0.1 and odi[2] > 0.7


def test_a_real_series_gives_sensible_maps(amico, shared_data, tmp_path):
    stem = f"{shared_data}/multishell/sub-mdtb1kb2k_acq-2slices_"
    if not os.path.exists(f"{stem}dwi.nii.gz"):
        pytest.skip("needs the multi-shell series in ../shared/data/multishell: not there")
    image = nib.load(f"{stem}dwi.nii.gz")
    gradients = read_gradients(f"{stem}dwi.bval", f"{stem}dwi.bvec", image.shape[3])
    assert [s.nominal for s in gradients.shells] == [1000, 2000]
    crop = np.s_[46:58, 44:56, :1]
    data = image.get_fdata(dtype=np.float32)[crop]
    mask = np.asarray(nib.load(f"{stem}mask.nii.gz").dataobj)[crop] > 0
    assert mask.sum() > 50
    maps = fit_noddi(data, mask, gradients, tmp_path)
    for name in MAPS:
        values = getattr(maps, name)[maps.fitted]
        assert values.min() >= 0 and values.max() <= 1
    assert 0.3 < np.median(maps.ndi[maps.fitted]) < 0.8
    assert 0.05 < np.median(maps.odi[maps.fitted]) < 0.6
    assert np.median(maps.fwf[maps.fitted]) < 0.3
