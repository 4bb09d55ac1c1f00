from __future__ import annotations

import logging

import numpy as np
import pytest

from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.exceptions import DataError, ExitCode, InputOutputError, MissingInput

BVALS = np.array([0.0, 1000, 1005, 2000, 2000])
BVECS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]], dtype=np.float64)


@pytest.fixture
def files(tmp_path):
    """Function that writes a pair of files; texts go in as they are, arrays by savetxt."""

    def write(bvals=BVALS, bvecs=BVECS.T):
        paths = tmp_path / "s_dwi.bval", tmp_path / "s_dwi.bvec"
        for path, content in zip(paths, (bvals, bvecs), strict=True):
            if isinstance(content, str):
                path.write_text(content)
            else:
                np.savetxt(path, np.atleast_2d(content))
        return paths

    return write


def _changed(array, volume, value):
    changed = array.copy()
    changed[volume] = value
    return changed


def _refused(paths, n_volumes=5) -> str:
    with pytest.raises(DataError) as caught:
        read_gradients(*paths, n_volumes)
    assert caught.value.exit_code is ExitCode.BAD_DATA
    assert ".bval" in str(caught.value) or ".bvec" in str(caught.value)
    return str(caught.value)


def test_fsl_layout_is_read_without_a_word(files, caplog):
    gradients = read_gradients(*files(), 5)
    np.testing.assert_array_equal(gradients.bvals, BVALS)
    np.testing.assert_allclose(gradients.bvecs, BVECS, rtol=0, atol=1e-15)
    assert gradients.bvals.dtype == gradients.bvecs.dtype == np.float64
    assert gradients.bvals.shape == (5,) and gradients.bvecs.shape == (5, 3)
    assert not caplog.records


def test_columns_and_other_white_space_are_read(files, caplog):
    lines = "\r\n".join("\t".join(f"{v:g}" for v in row) for row in BVECS) + "\r\n\r\n"
    with caplog.at_level(logging.WARNING):
        gradients = read_gradients(*files("\ufeff0\n1000\n1005\n2000\n2000", lines), 5)
    np.testing.assert_array_equal(gradients.bvals, BVALS)
    np.testing.assert_allclose(gradients.bvecs, BVECS, rtol=0, atol=1e-15)
    assert "one direction a line" in caplog.text


def test_three_volumes_are_read_as_fsl_writes_them(files):
    bvecs = np.array([[0, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])
    gradients = read_gradients(*files(BVALS[:3], bvecs.T), 3)
    np.testing.assert_allclose(gradients.bvecs, bvecs, rtol=0, atol=1e-15)


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file_is_missing_input(files, which):
    paths = files()
    paths[which].unlink()
    with pytest.raises(MissingInput, match=("b-values", "directions")[which]) as caught:
        read_gradients(*paths, 5)
    assert caught.value.exit_code is ExitCode.MISSING_INPUT


def test_a_broken_annex_link_names_datalad(files):
    bval, bvec = files()
    bvec.unlink()
    bvec.symlink_to(".git/annex/objects/nowhere")
    with pytest.raises(MissingInput, match="datalad get"):
        read_gradients(bval, bvec, 5)


def test_empty_files_are_refused(files):
    with pytest.raises(InputOutputError, match="empty"):
        read_gradients(*files(bvals=""), 5)
    assert "b-values are empty" in _refused(files(bvals="\n \n"))


def test_what_is_not_a_table_of_numbers_is_refused(files):
    assert "not numbers" in _refused(files(bvals="0 1000 b=1000 2000 2000"))
    assert "differ in length" in _refused(files(bvecs="0 1 0 0 1\n0 0 1 0 0\n0 0 0 1"))
    assert "no three components" in _refused(files(bvecs=np.zeros((2, 5))))
    assert "neither one line" in _refused(files(bvals=np.zeros((2, 5))))


def test_counts_must_be_those_of_the_volumes(files):
    assert "number of b-values" in _refused(files(BVALS[:4]))
    assert "number of directions" in _refused(files(bvecs=BVECS[:4].T))
    message = _refused(files(), n_volumes=6)
    assert "Expected: 6" in message and "trace" in message
    assert "another series" in _refused(files(), n_volumes=9)


def test_b_values_that_cannot_be(files):
    assert "volume 2: nan" in _refused(files(_changed(BVALS, 2, np.nan)))
    assert "not finite" in _refused(files(_changed(BVALS, 0, np.inf)))
    assert "negative" in _refused(files(_changed(BVALS, 0, -5)))
    assert "No volume with b=0" in _refused(files(_changed(BVALS, 0, 51)))
    assert "--b0-threshold 61" in _refused(files(_changed(BVALS, 0, 60.5)))
    assert "cannot be used" in _refused(files(_changed(BVALS, 0, 1000), _changed(BVECS, 0, 0.6).T))
    assert "s/mm2" in _refused(files(BVALS / 1000))  # ms/um2: all would be b=0
    assert "No volume is diffusion-weighted" in _refused(files(BVALS / 1000))


@pytest.mark.parametrize("direction", [np.nan, np.inf, 7.0, 0.0])
def test_a_b0_volume_needs_no_direction(files, caplog, direction):
    gradients = read_gradients(*files(bvecs=_changed(BVECS, 0, direction).T), 5)
    np.testing.assert_array_equal(gradients.bvecs[0], 0)
    np.testing.assert_allclose(gradients.bvecs, BVECS, rtol=0, atol=1e-15)
    assert not caplog.records


def test_a_direction_at_a_tiny_b_is_kept(files):
    bvals, bvecs = _changed(BVALS, 0, 5), _changed(BVECS, 0, [0, 0.6, 0.8])
    gradients = read_gradients(*files(bvals, bvecs.T), 5)
    np.testing.assert_allclose(gradients.bvecs[0], [0, 0.6, 0.8])


def test_directions_of_weighted_volumes_that_cannot_be(files):
    assert "not finite" in _refused(files(bvecs=_changed(BVECS, 3, np.nan).T))
    zero = _refused(files(bvecs=_changed(BVECS, 3, 0).T))
    assert "volume 3: 0" in zero and "ADC" in zero
    for length in (0.94, 1.06, np.sqrt(0.5), np.sqrt(2)):
        assert "unit length" in _refused(files(bvecs=_changed(BVECS, 1, length * BVECS[1]).T))


@pytest.mark.parametrize(("length", "said"), [(0.96, True), (1.04, True), (0.9995, False)])
def test_nearly_unit_directions_are_rescaled(files, caplog, length, said):
    gradients = read_gradients(*files(bvecs=length * BVECS.T), 5)
    np.testing.assert_allclose(gradients.bvecs, BVECS, rtol=0, atol=1e-15)
    assert ("rescaled" in caplog.text) is said
    assert gradients.lengths == pytest.approx((length, length))
    assert gradients.select([1, 2]).lengths == gradients.lengths


def test_one_b_value_for_all_and_zero_vectors_name_the_volume(files):
    bvals, bvecs = np.full(5, 900.0), _changed(_changed(BVECS, 0, 0), 3, np.nan)
    message = _refused(files(bvals, bvecs.T))
    assert "volume 0, 3" in message and "GE" in message and "--b0-threshold" not in message


ROOTS = np.sqrt(BVALS / 4000)


@pytest.mark.parametrize("jitter", [1.0, 1.02])
def test_lengths_of_the_root_of_b_are_made_unit(files, caplog, jitter):
    lengths = ROOTS * [1, 1, 1, jitter, 1]
    gradients = read_gradients(*files(bvecs=(BVECS * lengths[:, None]).T), 5)
    np.testing.assert_array_equal(gradients.bvals, BVALS)
    np.testing.assert_allclose(gradients.bvecs, BVECS, rtol=0, atol=1e-9)
    assert gradients.lengths == pytest.approx((0.5, np.sqrt(0.5) * jitter))
    assert len(caplog.records) == 1 and "root of the b-values" in caplog.text


@pytest.mark.parametrize(
    ("bvals", "lengths", "words"),
    [
        (BVALS, np.r_[0, BVALS[1:] / 4000], "Neither unit nor proportional"),  # b, not its root
        (BVALS, np.full(5, 0.5), r" All are off by one factor: make them unit, after checking"),
        (np.r_[0, np.full(4, 1000.0)], np.full(5, 0.5), "one factor"),  # b=1000, or 250?
        (np.r_[0, np.full(4, 4000.0)], ROOTS, "write that into the b-values"),
        (BVALS, np.r_[0, 1, 1, 0.7, 1], "Neither"),
    ],
)
def test_the_hint_for_other_lengths_is_not_what_is_done_already(files, bvals, lengths, words):
    message = _refused(files(bvals, (BVECS * lengths[:, None]).T))
    assert "unit length" in message and words in message


def test_the_threshold_travels_with_the_gradients(files):
    paths = files(_changed(BVALS, 0, 80))
    assert read_gradients(*paths, 5, b0_threshold=100).b0.tolist() == [True] + [False] * 4


def test_long_lists_of_wrong_values_are_cut(files):
    assert "4 in all" in _refused(files(bvecs=np.zeros((3, 5))))


REAL = {
    "ge02/dwi/sub-ge02": (20, [1000], 7),
    "philips01/dwi/sub-philips01": (17, [1000], 1),
    "uih01/dwi/sub-uih01": (17, [950], 1),
    "siemens01/dwi/sub-siemens01_dir-AP": (21, [2500], 1),
    "siemens04/dwi/sub-siemens04": (13, [1000], 1),
    "canon01/ses-V60/dwi/sub-canon01_ses-V60_dir-PA": (13, [1500], 1),
}


@pytest.mark.parametrize("series", REAL)
def test_files_of_real_scanners_are_read(shared_data, series):
    n_volumes, nominal, n_b0 = REAL[series]
    stem = shared_data / "multivendor" / f"sub-{series}_dwi"
    gradients = read_gradients(f"{stem}.bval", f"{stem}.bvec", n_volumes)
    assert [s.nominal for s in gradients.shells] == nominal
    assert np.count_nonzero(gradients.b0) == n_b0
    np.testing.assert_allclose(np.linalg.norm(gradients.bvecs[~gradients.b0], axis=1), 1)
