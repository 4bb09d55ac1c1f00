"""Maps are MRtrix3's, on oblique grids of either determinant; where MRtrix3 is installed."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.maps import world_directions
from bids_harmony.interfaces.diffusion_fits import FitTensor
from bids_harmony.quality.diffusion import angle_between
from lab.tensor_field import (
    make_tensor_field,
    mrtrix_maps,
    mrtrix_missing,
    oblique_affine,
    write_tensor_series,
)

pytestmark = pytest.mark.skipif(bool(mrtrix_missing()), reason=mrtrix_missing() or "installed")

SCALARS = ("fa", "md", "ad", "rd")


@pytest.mark.parametrize("codes", ["RAS", "LAS", "ASR", "PSR"])
@pytest.mark.parametrize(
    ("noise", "apart", "degrees"),
    # Of noise-free signals any weights give the same tensor. MRtrix3 weights twice more than
    # DIPY; errors of the fits themselves are four times these tolerances.
    [(0.0, 1e-6, 1e-4), (0.02, 0.02, 1.5)],
)
def test_maps_are_those_of_mrtrix(codes, noise, apart, degrees, tmp_path):
    rng = np.random.default_rng(11)
    field, affine = make_tensor_field((6, 5, 4), rng), oblique_affine(codes)
    files = write_tensor_series(tmp_path, field, affine, rng, noise=noise)
    theirs = mrtrix_maps(files, tmp_path)
    outputs = FitTensor(**files).run(cwd=str(tmp_path)).outputs
    for name in SCALARS:
        ours = nib.load(getattr(outputs, name)).get_fdata()
        unit = 1.0 if name == "fa" else theirs[name].mean()
        np.testing.assert_allclose(ours / unit, theirs[name] / unit, rtol=0, atol=apart)
    v1 = nib.load(outputs.v1)
    turned = world_directions(v1.get_fdata(), v1.affine)
    assert angle_between(turned, theirs["v1"]).max() < degrees
