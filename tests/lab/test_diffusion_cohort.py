"""Diffusion cohort: FSL's directions, twins on their scans' grids, people as in the T1w cohort."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.phantom.cohort import CohortPlan, write_cohort
from lab.diffusion_cohort import fsl_directions, write_diffusion_cohort

PLAN = CohortPlan(
    sites=("COI", "GE", "PRISMA"), training_per_site=1, travelling=1, voxel_scale=3.0,
    modalities=("T1w",), seed=4,
)  # fmt: skip
SHARE = 0.3


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion")
    write_diffusion_cohort(folder, PLAN, direction_share=SHARE)
    return folder


def stem(site):
    return f"sub-T01/ses-{site}/dwi/sub-T01_ses-{site}"


def load(path):
    image = nib.load(path)
    return image, image.get_fdata(dtype=np.float32)


def test_directions_follow_fsl_in_either_handedness():
    direction = np.array([[0.6, 0.48, 0.64]])
    cases = {
        "RAS": [-0.6, 0.48, 0.64],
        "LAS": [-0.6, 0.48, 0.64],
        "LPS": [0.6, -0.48, 0.64],
        "PSR": [-0.48, 0.64, 0.6],
    }
    for codes, expected in cases.items():
        turn = nib.orientations.axcodes2ornt(codes)
        image = nib.Nifti1Image(np.zeros((5, 5, 5), np.int16), np.diag([2.0, 2.0, 2.5, 1.0]))
        affine = image.as_reoriented(
            nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn)
        ).affine
        assert nib.aff2axcodes(affine) == tuple(codes)
        assert np.allclose(fsl_directions(direction, affine), expected), codes


def test_every_scan_has_its_files_and_as_many_volumes_as_b_values(cohort):
    found = {p.name for p in (cohort / "bids").rglob("*_dwi.nii.gz")}
    people = {f"sub-{s}01" for s in PLAN.sites} | {"sub-T01_ses-GE", "sub-T01_ses-PRISMA"}
    assert found == {f"{p}_dwi.nii.gz" for p in people}
    for path in (cohort / "bids").rglob("*_dwi.nii.gz"):
        image = nib.load(path)
        begin = str(path).removesuffix(".nii.gz")
        b_values, bvecs = np.loadtxt(f"{begin}.bval"), np.loadtxt(f"{begin}.bvec")
        assert image.shape[3] == len(b_values) and bvecs.shape == (3, len(b_values))
        assert image.get_data_dtype() == np.int16
        assert np.allclose(np.linalg.norm(bvecs, axis=0), b_values > 0, atol=1e-5)
        sidecar = json.loads((path.parent / f"{path.name.split('.')[0]}.json").read_text())
        assert sidecar["InstitutionName"] in path.name
        assert 0.06 < sidecar["EchoTime"] < 0.12


def test_a_fit_of_what_was_written_finds_the_true_fibres(cohort):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    handed = set()
    for site in ("GE", "PRISMA"):
        begin = cohort / "twins" / stem(site)
        image, series = load(f"{begin}_desc-twin_dwi.nii.gz")
        _, true = load(f"{begin}_model-noddi_param-direction_desc-truth_dwimap.nii.gz")
        _, share = load(f"{begin}_model-noddi_param-crossing_desc-truth_dwimap.nii.gz")
        _, fa = load(f"{begin}_model-tensor_param-fa_desc-twin_dwimap.nii.gz")
        b_values = np.loadtxt(f"{begin}_desc-twin_dwi.bval")
        bvecs = np.loadtxt(f"{begin}_desc-twin_dwi.bvec").T
        use = b_values <= 1000
        where = (fa > 0.5) & (share == 0)
        assert where.sum() > 100
        table = gradient_table(b_values[use], bvecs=bvecs[use])
        v1 = TensorModel(table).fit(series[where][:, use]).evecs[..., 0]
        axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
        right_handed = np.linalg.det(axes) > 0
        handed.add(bool(right_handed))
        world = (v1 * [-1 if right_handed else 1, 1, 1]) @ axes.T
        cosine = np.abs((world * true[where]).sum(-1))
        assert np.median(cosine) > 0.99, site
    assert handed == {True, False}


def test_twins_and_truth_lie_on_the_scans_grid_with_its_gradients(cohort):
    for site in ("GE", "PRISMA"):
        scan = nib.load(cohort / "bids" / f"{stem(site)}_dwi.nii.gz")
        for path in (cohort / "twins" / stem(site)).parent.glob("*.nii.gz"):
            other = nib.load(path)
            assert other.shape[:3] == scan.shape[:3]
            assert np.array_equal(other.affine, scan.affine), path.name
        for end in ("bval", "bvec"):
            own = (cohort / "bids" / f"{stem(site)}_dwi.{end}").read_bytes()
            for desc in ("twin", "ceiling"):
                path = cohort / "twins" / f"{stem(site)}_desc-{desc}_dwi.{end}"
                assert path.read_bytes() == own


def test_the_twin_is_the_targets_look_and_the_ceiling_its_noisy_draw(cohort):
    begin = cohort / "twins" / stem("GE")
    _, scan = load(cohort / "bids" / f"{stem('GE')}_dwi.nii.gz")
    _, twin = load(f"{begin}_desc-twin_dwi.nii.gz")
    _, ceiling = load(f"{begin}_desc-ceiling_dwi.nii.gz")
    inside = twin[..., 0] > 0
    assert np.corrcoef(twin[inside].ravel(), scan[inside].ravel())[0, 1] > 0.8
    assert 0.9 < np.median(ceiling[inside][:, 0] / twin[inside][:, 0]) < 1.1
    assert np.median(scan[inside][:, 0] / twin[inside][:, 0]) > 2.5
    assert not np.array_equal(ceiling, twin)


def test_people_of_one_site_have_truth_and_no_twin(cohort):
    names = {p.name.split("_")[-1] for p in (cohort / "twins" / "sub-GE01").rglob("*.nii.gz")}
    assert names == {"dwimap.nii.gz"}
    assert not list((cohort / "bids").rglob("*dwimap*"))


def test_t1w_and_diffusion_of_one_plan_are_one_dataset(cohort, tmp_path):
    write_cohort(tmp_path, PLAN)
    for name in ("participants.tsv", "participants.json", "dataset_description.json"):
        assert (tmp_path / "bids" / name).read_bytes() == (cohort / "bids" / name).read_bytes()
    t1w, _ = load(tmp_path / "bids/sub-T01/ses-GE/anat/sub-T01_ses-GE_T1w.nii.gz")
    dwi, series = load(cohort / "bids" / f"{stem('GE')}_dwi.nii.gz")
    # The head lies as it lay: each brain voxel of the one is brain in the other.
    inside = np.argwhere(series[..., 0] > 0)
    world = nib.affines.apply_affine(dwi.affine, inside)
    voxel = np.rint(nib.affines.apply_affine(np.linalg.inv(t1w.affine), world)).astype(int)
    voxel = np.clip(voxel, 0, np.array(t1w.shape) - 1)
    assert (t1w.get_fdata()[tuple(voxel.T)] > 0).mean() > 0.97


def test_unknown_sites_are_refused(tmp_path):
    plan = CohortPlan(sites=("COI", "UMR"))
    with pytest.raises(ValueError, match="UMR"):
        write_diffusion_cohort(tmp_path, plan)
