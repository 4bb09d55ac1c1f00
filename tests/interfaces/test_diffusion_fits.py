"""Fits of series in files: the numbers of DIPY and AMICO, on the grid and in the order of the
file."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import isdefined
from nipype.pipeline.engine import Node, Workflow

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.diffusion import noddi
from bids_harmony.exceptions import DataError
from bids_harmony.interfaces.diffusion_fits import FitForce, FitNoddi, FitTensor, WriteMaps
from bids_harmony.interfaces.diffusion_quality import CompareFits
from bids_harmony.phantom.cohort import CohortPlan
from bids_harmony.settings import Settings
from lab.diffusion_cohort import write_diffusion_cohort
from tests.gradient_schemes import scheme, tensor_signal

TENSOR = ("fa", "md", "ad", "rd", "v1")
NODDI = ("ndi", "odi", "fwf")
FORCE = ("nd", "dispersion", "csffraction", "ndiqr", "dispersioniqr", "csffractioniqr")


@dataclass(frozen=True)
class Files:
    """A series as it lies on disk."""

    dwi: Path
    bval: Path
    bvec: Path
    mask: Path

    @property
    def inputs(self):
        return {
            "in_file": str(self.dwi),
            "bval_file": str(self.bval),
            "bvec_file": str(self.bvec),
            "mask_file": str(self.mask),
        }

    def load(self):
        """Signals of the masked voxels (V, N), the mask, b-values and directions."""
        mask = np.asarray(nib.load(self.mask).dataobj) > 0
        data = nib.load(self.dwi).get_fdata(dtype=np.float32)
        return data, mask, np.loadtxt(self.bval), np.loadtxt(self.bvec).T


def saved(folder, data, gradients, mask, affine) -> Files:
    files = Files(*(folder / f"dwi{end}" for end in (".nii.gz", ".bval", ".bvec", "_mask.nii")))
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, files.dwi)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), files.mask)
    np.savetxt(files.bval, gradients.bvals[None], fmt="%g")
    np.savetxt(files.bvec, gradients.bvecs.T, fmt="%.9f")
    return files


@pytest.fixture(scope="module")
def real_slices(shared_data, tmp_path_factory) -> Files:
    """Two real slices with b=1000 and b=2000 s/mm2, masked to a part."""
    stem = shared_data / "multishell/sub-mdtb1kb2k_acq-2slices_"
    if not Path(f"{stem}dwi.nii.gz").exists():
        pytest.skip("needs the multi-shell series in ../shared/data/multishell: not there")
    mask = nib.load(f"{stem}mask.nii.gz")
    part = np.zeros(mask.shape, np.uint8)
    part[44:60, 40:60] = np.asarray(mask.dataobj)[44:60, 40:60] > 0
    path = tmp_path_factory.mktemp("real") / "mask.nii.gz"
    nib.save(nib.Nifti1Image(part, mask.affine), path)
    return Files(*(Path(f"{stem}dwi{e}") for e in (".nii.gz", ".bval", ".bvec")), path)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Files:
    """A series of two shells, stored with permuted axes and as scaled integers."""
    folder = tmp_path_factory.mktemp("phantom")
    plan = CohortPlan(
        sites=("COI", "PRISMA"), training_per_site=0, travelling=1, voxel_scale=4.0, seed=4
    )
    write_diffusion_cohort(folder, plan, direction_share=0.3)
    (dwi,) = (folder / "bids").rglob("*_dwi.nii.gz")
    image = nib.load(dwi)
    assert nib.aff2axcodes(image.affine) != ("R", "A", "S")
    b0 = image.get_fdata()[..., 0]
    mask = folder / "mask.nii.gz"
    nib.save(nib.Nifti1Image((b0 > 0.3 * b0.max()).astype(np.uint8), image.affine), mask)
    stem = str(dwi).removesuffix(".nii.gz")
    return Files(dwi, Path(f"{stem}.bval"), Path(f"{stem}.bvec"), mask)


@pytest.fixture(scope="module")
def one_shell(tmp_path_factory) -> Files:
    gradients = scheme((1000, 12))
    signal = tensor_signal(gradients, np.diag([1.7e-3, 4e-4, 2e-4]))
    data = np.tile(signal, (3, 3, 2, 1)).astype(np.float32)
    folder = tmp_path_factory.mktemp("one_shell")
    return saved(folder, data, gradients, np.ones((3, 3, 2)), np.diag([2.0, 2.0, 2.0, 1.0]))


def fitted(interface, files, folder, **options):
    folder.mkdir(exist_ok=True)
    return interface(**files.inputs, **options).run(cwd=str(folder)).outputs


def check_like_the_series(outputs, files, names):
    series = nib.load(files.dwi)
    for name in names:
        image = nib.load(getattr(outputs, name))
        assert image.shape == series.shape[:3] + ((3,) if name == "v1" else ())
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, series.affine)
        assert image.header.get_xyzt_units() == series.header.get_xyzt_units()
        assert image.header["sform_code"] == series.header["sform_code"]


@pytest.mark.parametrize("series", ["real_slices", "phantom"])
def test_tensor_maps_are_dipys(series, tmp_path, request):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    files = request.getfixturevalue(series)
    outputs = fitted(FitTensor, files, tmp_path)
    check_like_the_series(outputs, files, TENSOR)
    assert [Path(f).name for f in outputs.map_files] == [f"{n}.nii.gz" for n in TENSOR]

    data, mask, bvals, bvecs = files.load()
    low = bvals < 1500
    bvecs = bvecs / np.maximum(np.linalg.norm(bvecs, axis=1, keepdims=True), 1e-9)
    table = gradient_table(bvals[low], bvecs=bvecs[low] * (bvals[low] > 50)[:, None])
    mask = mask & (data[..., bvals <= 50].mean(axis=-1) > 0)
    whole = mask & (data[..., low] > 0).all(axis=-1)  # test_tensor.py has the others
    direct = TensorModel(table, fit_method="WLS").fit(data[whole][:, low].astype(np.float64))
    for name in TENSOR[:-1]:
        values = nib.load(getattr(outputs, name)).get_fdata(dtype=np.float32)
        expected = getattr(direct, name).astype(np.float32)
        # The last bits of a matrix product depend on the number of its rows.
        np.testing.assert_allclose(values[whole], expected, rtol=1e-6, atol=1e-9)
        assert not values[~mask].any()
    v1 = nib.load(outputs.v1).get_fdata(dtype=np.float32)[whole]
    along = np.abs(np.sum(v1 * direct.evecs[..., 0], axis=1))
    np.testing.assert_allclose(along, 1, atol=1e-4)

    record = json.loads(Path(outputs.record_file).read_text())
    assert record["Model"] == "tensor" and record["FitMethod"] == "WLS"
    assert record["VolumesUsed"] == np.flatnonzero(low).tolist()
    assert record["FittedVoxels"] == mask.sum()
    incomplete = int(np.count_nonzero(mask & ~whole))
    assert record.get("VoxelsFittedWithoutSomeVolumes", 0) == incomplete
    assert "DirectionsRescaled" not in record
    b0 = data[mask][:, bvals <= 50].mean(axis=1)
    assert record["MedianB0Signal"] == pytest.approx(np.median(b0), rel=1e-4)


@pytest.mark.parametrize("series", ["real_slices", "phantom"])
def test_noddi_maps_are_amicos(series, tmp_path, request, monkeypatch):
    amico = pytest.importorskip("amico", reason="needs the extra noddi (dmri-amico)")

    files = request.getfixturevalue(series)
    outputs = fitted(FitNoddi, files, tmp_path / "ours")
    check_like_the_series(outputs, files, NODDI)
    assert "2 non-zero shells" in outputs.statement

    work = tmp_path / "amico"
    work.mkdir()
    data, mask, bvals, bvecs = files.load()
    mask = mask & (data[..., bvals <= 50].mean(axis=-1) > 0)
    bvecs = bvecs / np.maximum(np.linalg.norm(bvecs, axis=1, keepdims=True), 1e-9)
    nib.save(nib.Nifti1Image(data, np.eye(4)), work / "dwi.nii")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.eye(4)), work / "mask.nii")
    table = np.column_stack([bvecs * (bvals > 50)[:, None], np.round(bvals * (bvals > 50))])
    np.savetxt(work / "scheme", table, fmt="%.17g", header="VERSION: BVECTOR", comments="")
    monkeypatch.setattr(amico.lut, "dipy_home", str(work))
    amico.lut.precompute_rotation_matrices(12, 500)
    direct = amico.Evaluation(str(work), ".")
    direct.set_config("nthreads", 1)
    direct.load_data("dwi.nii", "scheme", "mask.nii", b0_thr=0)
    direct.set_model("NODDI")
    direct.generate_kernels(regenerate=True)
    direct.load_kernels()
    direct.fit()
    whole = (data > 0).all(axis=-1)  # test_noddi.py has the others
    assert np.count_nonzero(whole & mask) > 0.9 * np.count_nonzero(mask)
    for i, name in enumerate(NODDI):
        values = nib.load(getattr(outputs, name)).get_fdata(dtype=np.float32)
        np.testing.assert_array_equal(values[whole], direct.RESULTS["MAPs"][..., i][whole])


def test_one_shell_gives_a_tensor_and_a_statement_instead_of_noddi(one_shell, tmp_path):
    outputs = fitted(FitTensor, one_shell, tmp_path / "tensor")
    md = nib.load(outputs.md).get_fdata()
    np.testing.assert_allclose(md, np.mean([1.7e-3, 4e-4, 2e-4]), rtol=1e-5)
    outputs = fitted(FitNoddi, one_shell, tmp_path / "noddi")
    assert "needs 2 non-zero shells" in outputs.statement
    assert "b=1000 (12 volumes)" in outputs.statement
    assert not isdefined(outputs.map_files)
    assert json.loads(Path(outputs.record_file).read_text())["Statement"] == outputs.statement


@pytest.mark.parametrize("series", ["real_slices", "phantom"])
def test_force_maps_are_written_with_their_uncertainty(series, tmp_path, request):
    from bids_harmony.diffusion.force import fit_force
    from bids_harmony.diffusion.gradient_files import read_gradients

    files = request.getfixturevalue(series)
    fit = fitted(FitForce, files, tmp_path / "fit", simulations=500, seed=3)
    check_like_the_series(fit, files, FORCE)
    assert "2 non-zero shells" in fit.statement
    data, mask, _, _ = files.load()
    gradients = read_gradients(files.bval, files.bvec, data.shape[3])
    direct = fit_force(data, mask, gradients, tmp_path, simulations=500, seed=3)
    for name in FORCE:
        image = nib.load(getattr(fit, name)).get_fdata(dtype=np.float32)
        np.testing.assert_array_equal(image, getattr(direct, name))

    paths = written(fit, tmp_path)
    stem = "sub-01_ses-A_dir-AP_model-force_param-"
    assert [p.name for p in paths] == [f"{stem}{n}_desc-source_dwimap.nii.gz" for n in FORCE]
    sidecar = json.loads(Path(str(paths[3]).replace(".nii.gz", ".json")).read_text())
    assert "interquartile range" in sidecar["Description"]
    parameters = sidecar["Model"]["Parameters"]
    assert (parameters["Simulations"], parameters["Seed"]) == (500, 3)
    assert parameters["ParallelDiffusivity"] == 1.7e-3 and parameters["Tortuosity"] is True


def test_what_force_needs_is_told_where_it_is_not_there(one_shell, phantom, tmp_path, monkeypatch):
    outputs = fitted(FitForce, one_shell, tmp_path / "one")
    assert "FORCE needs 2 non-zero shells" in outputs.statement
    monkeypatch.setattr("bids_harmony.diffusion.force.force_installed", lambda: False)
    outputs = fitted(FitForce, phantom, tmp_path / "old")
    assert "dipy>=1.12" in outputs.statement and not isdefined(outputs.map_files)


def test_directions_that_were_rescaled_are_told_with_what_others_make_of_them(tmp_path):
    gradients = scheme((1000, 12))
    data = np.tile(tensor_signal(gradients, np.diag([1.7e-3, 4e-4, 2e-4])), (3, 3, 2, 1))
    shorter = replace(gradients, bvecs=0.98 * gradients.bvecs)
    files = saved(tmp_path, data.astype(np.float32), shorter, np.ones((3, 3, 2)), np.eye(4))
    outputs = fitted(FitTensor, files, tmp_path / "fit")
    md = nib.load(outputs.md).get_fdata()
    np.testing.assert_allclose(md, np.mean([1.7e-3, 4e-4, 2e-4]), rtol=1e-5)
    record = json.loads(Path(outputs.record_file).read_text())
    assert record["DirectionLengths"] == [0.98, 0.98]
    assert "divided by 0.960." in record["DirectionsRescaled"]


def test_without_amico_the_statement_names_the_extra(phantom, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "amico", None)
    outputs = fitted(FitNoddi, phantom, tmp_path)
    assert "bids_harmony[noddi]" in outputs.statement and not isdefined(outputs.map_files)


def test_the_licence_is_told_once(caplog):
    noddi.say_licence.cache_clear()
    with caplog.at_level(logging.WARNING, logger="bids_harmony.diffusion.noddi"):
        noddi.say_licence()
        noddi.say_licence()
    assert caplog.text.count("research and education only") == 1


def test_restore_and_the_threshold_of_b0_reach_the_fit(one_shell, tmp_path):
    outputs = fitted(FitTensor, one_shell, tmp_path / "robust", method="RESTORE")
    assert json.loads(Path(outputs.record_file).read_text())["FitMethod"] == "RESTORE"
    with pytest.raises(DataError, match="weighted"):
        fitted(FitTensor, one_shell, tmp_path / "all_b0", b0_threshold=1200.0)


@pytest.mark.parametrize("wrong", ["turned", "cropped"])
def test_a_mask_on_another_grid_is_refused(one_shell, tmp_path, wrong):
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    data = np.ones((3, 3, 2), np.uint8)
    if wrong == "turned":  # read voxel by voxel it would be mirrored
        affine[0, 0], affine[0, 3] = -2, 4
    else:
        data = data[:2]
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "mask.nii")
    files = Files(one_shell.dwi, one_shell.bval, one_shell.bvec, tmp_path / "mask.nii")
    with pytest.raises(DataError, match="not on the grid"):
        fitted(FitTensor, files, tmp_path / "work")


def source_scan(root: Path) -> Scan:
    return Scan(
        path=root / "sub-01/ses-A/dwi/sub-01_ses-A_dir-AP_dwi.nii.gz",
        entities={"subject": "01", "session": "A", "datatype": "dwi"},
        modality="dwi",
        metadata={},
        site=SiteEvidence("GE", "--source-site"),
    )


def written(fit, tmp_path, **options):
    (tmp_path / "raw").mkdir(exist_ok=True)
    settings = Settings(
        bids_dir=tmp_path / "raw",
        output_dir=tmp_path / "out",
        target_site="COI",
        analysis_level="participant",
    )
    (tmp_path / "node").mkdir(exist_ok=True)
    node = WriteMaps(
        scan=source_scan(tmp_path / "raw"),
        settings=settings,
        input_hash="abc",
        map_files=fit.map_files,
        record_file=fit.record_file,
        **options,
    )
    files = node.run(cwd=str(tmp_path / "node")).outputs.out_files
    return [Path(f) for f in files] if isdefined(files) else []


def test_maps_are_written_with_names_and_sidecars(one_shell, tmp_path):
    fit = fitted(FitTensor, one_shell, tmp_path / "fit")
    source = written(fit, tmp_path)
    harmonized = written(fit, tmp_path, target_site="COI")
    folder = tmp_path / "out/sub-01/ses-A/dwi"
    stem = "sub-01_ses-A_dir-AP_model-tensor_param-"
    assert source == [folder / f"{stem}{n}_desc-source_dwimap.nii.gz" for n in TENSOR]
    assert harmonized == [folder / f"{stem}{n}_desc-harmonizedCOI_dwimap.nii.gz" for n in TENSOR]
    assert len(list(folder.iterdir())) == 20  # nothing temporary stays

    for path, own in zip(source, fit.map_files, strict=True):
        assert path.read_bytes() == Path(own).read_bytes()
    sidecar = json.loads((folder / f"{stem}md_desc-harmonizedCOI_dwimap.json").read_text())
    raw = "bids:raw:sub-01/ses-A/dwi/sub-01_ses-A_dir-AP_dwi.nii.gz"
    new = "bids::sub-01/ses-A/dwi/sub-01_ses-A_dir-AP_desc-harmonizedCOI_dwi.nii.gz"
    assert sidecar["Sources"][:2] == [raw, new]
    assert sidecar["Units"] == "mm^2/s" and sidecar["HarmonizationTarget"] == "COI"
    parameters = sidecar["Model"]["Parameters"]
    assert parameters["FitMethod"] == "WLS" and parameters["VolumesUsed"] == list(range(14))
    assert sidecar["HarmonizationHash"] == "abc"
    v1 = json.loads((folder / f"{stem}v1_desc-source_dwimap.json").read_text())
    assert v1["OrientationEncoding"]["Reference"] == "bvec"
    assert "HarmonizationTarget" not in v1 and new not in v1["Sources"]


def test_nothing_is_written_where_nothing_was_fitted(one_shell, tmp_path):
    fit = fitted(FitNoddi, one_shell, tmp_path / "fit")
    assert written(fit, tmp_path) == []
    assert not (tmp_path / "out").exists()


def compared(source, after, folder, **options):
    """Outputs of the comparison of two series on one scheme."""
    fits = [
        fitted(FitTensor, f, folder.with_name(f"{folder.name}_{i}"))
        for i, f in enumerate((source, after))
    ]
    folder.mkdir()
    node = CompareFits(
        source_file=str(source.dwi), harmonized_file=str(after.dwi), title="sub-01",
        bval_file=str(source.bval), bvec_file=str(source.bvec), mask_file=str(source.mask),
        source_tensor=fits[0].map_files, harmonized_tensor=fits[1].map_files, **options,
    )  # fmt: skip
    return node.run(cwd=str(folder)).outputs


def test_two_series_are_compared_in_numbers_and_pictures(phantom, tmp_path):
    # Attenuation of the source to the power of 1.1: diffusivities 10 % higher, the same FA.
    image = nib.load(phantom.dwi)
    data, _, bvals, _ = phantom.load()
    b0 = np.maximum(data[..., bvals <= 50].mean(axis=-1, keepdims=True), 1e-6)
    data = np.where(bvals > 50, b0 * (np.maximum(data, 1e-3) / b0) ** 1.1, data)
    new = tmp_path / "harmonized.nii.gz"
    nib.save(nib.Nifti1Image(data.astype(np.float32), image.affine), new)
    after = Files(new, phantom.bval, phantom.bvec, phantom.mask)
    outputs = compared(phantom, after, tmp_path / "by_tensor")
    record = json.loads(Path(outputs.quality_file).read_text())
    row = record["quality"]
    assert record["descriptions"].keys() == row.keys()
    assert row["md_wm_median_harmonized"] == pytest.approx(
        1.1 * row["md_wm_median_source"], rel=0.02
    )
    assert row["fa_wm_median_harmonized"] == pytest.approx(row["fa_wm_median_source"], rel=0.03)
    assert row["v1_angle_wm_median_deg"] < 3 and row["ndi_wm_median_source"] is None
    assert row["b0_ratio_median"] == pytest.approx(1)
    assert row["attenuation_b1000_harmonized"] < row["attenuation_b1000_source"] - 0.01
    for figure in (outputs.maps_figure, outputs.densities_figure):
        assert Path(figure).stat().st_size > 10_000

    # A segmentation is preferred, in the order of the series' file.
    white = np.zeros(image.shape[:3], np.uint8)
    white[tuple(np.argwhere(nib.load(phantom.mask).get_fdata() > 0)[500])] = 2
    nib.save(nib.Nifti1Image(white, image.affine), tmp_path / "dseg.nii.gz")
    given = compared(
        phantom, after, tmp_path / "by_labels", tissue_file=str(tmp_path / "dseg.nii.gz")
    )
    row = json.loads(Path(given.quality_file).read_text())["quality"]
    fa = nib.load(tmp_path / "by_labels_0/fa.nii.gz").get_fdata()[white == 2]
    assert row["fa_wm_median_source"] == pytest.approx(float(fa[0]))
    assert row["fa_gm_median_source"] is None


def test_in_a_graph_what_was_not_fitted_is_passed_over(one_shell, tmp_path):
    graph = Workflow("graph", base_dir=str(tmp_path / "work"))
    settings = Settings(
        bids_dir=tmp_path / "raw",
        output_dir=tmp_path / "out",
        target_site="COI",
        analysis_level="participant",
    )
    own = one_shell.inputs
    series = {"source_file": own.pop("in_file"), "harmonized_file": str(one_shell.dwi)}
    compare = Node(CompareFits(title="t", **series, **own), name="compare")
    for model, interface in (("tensor", FitTensor), ("noddi", FitNoddi)):
        fit = Node(interface(**one_shell.inputs), name=f"fit_{model}")
        write = Node(
            WriteMaps(scan=source_scan(tmp_path / "raw"), settings=settings, input_hash="h"),
            name=f"write_{model}",
        )
        fields = [("map_files", "map_files"), ("record_file", "record_file")]
        graph.connect([(fit, write, fields)])
        graph.connect(fit, "map_files", compare, f"source_{model}")
        graph.connect(fit, "map_files", compare, f"harmonized_{model}")
    graph.connect(graph.get_node("fit_noddi"), "statement", compare, "note")
    graph.run(plugin="Linear")
    names = {p.name for p in (tmp_path / "out").rglob("*.nii.gz")}
    assert len(names) == 5 and all("model-tensor" in name for name in names)
    row = json.loads((tmp_path / "work/graph/compare/quality.json").read_text())["quality"]
    assert row["v1_angle_wm_p95_deg"] == 0
    assert row["fa_wm_median_source"] == row["fa_wm_median_harmonized"] > 0.3
