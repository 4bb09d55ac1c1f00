"""Every reader of files that come from outside, with sound files to begin from.

The property tests and `benchmarks/fuzz.py` share this table. A reader gives a value, or raises an
error of ours that names the file; anything else is a fault.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_harmony.exceptions import BidsHarmonyError

__all__ = ["PARSERS", "Parser", "outcome"]


@dataclass(frozen=True)
class Parser:
    """A reader and what it reads.

    Attributes
    ----------
    file : str
        Name of the file under test.
    read : callable
        Takes the file's path.
    seeds : callable
        Contents of sound files.
    words : tuple of str
        What a mutation may put in: keys and numbers of the format.
    pack : callable
        From mutated bytes to the file's: lets mutations get behind a checksum.
    beside : callable
        Makes the files beside the one under test, from the folder and the file's bytes.
    """

    file: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[str, ...] = ()
    pack: Callable[[bytes], bytes] = bytes
    beside: Callable[[Path, bytes], object] = lambda folder, content: None


def outcome(parser: Parser, folder: Path, content: bytes) -> str:
    """Read one file; "value" or the name of our error.

    Raises
    ------
    AssertionError
        An error of ours does not name the file.
    Exception
        Whatever else the reader lets through: a fault.
    """
    path = folder / parser.file
    packed = parser.pack(content)
    path.write_bytes(packed)
    parser.beside(folder, packed)
    try:
        parser.read(path)
    except BidsHarmonyError as error:
        # A model's two files answer for each other.
        assert str(folder) in str(error), f"no file is named: {error}"
        assert len(str(error)) < 20_000, "an error fills the screen"
        return type(error).__name__
    return "value"


# --- images


def _image(kind: type, dtype: str, shape: tuple[int, ...], slope: float = 1.0) -> bytes:
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(values.dtype)
    image = kind(values, np.diag([2.0, 2, 2, 1]), header)
    image.header.set_slope_inter(slope, 0)
    return image.to_bytes()


def _volumes() -> list[bytes]:
    return [
        _image(nib.Nifti1Image, "<i2", (3, 4, 5)),
        _image(nib.Nifti1Image, ">f4", (3, 4, 5, 1)),
        _image(nib.Nifti2Image, "<u1", (4, 4, 4), 0.5),
    ]


def _all_series() -> list[bytes]:
    return [
        _image(nib.Nifti1Image, "<i2", (3, 4, 5, 3)),
        _image(nib.Nifti2Image, ">f4", (3, 3, 3, 2), 2.0),
    ]


def _read_volume(path: Path) -> object:
    from bids_harmony.imaging.volume import read_volume, to_native

    volume = read_volume(path)
    return to_native(volume, volume.data)


def _open_series(path: Path) -> object:
    from bids_harmony.diffusion.series import open_series

    return list(open_series(path).volumes())


# --- gradients


_BVAL = b"0 1000 1000 2000\n"
_BVEC = b"0 1 0 0\n0 0 1 0\n0 0 0 1\n"


def _read_gradients(path: Path) -> object:
    from bids_harmony.diffusion.gradient_files import read_gradients

    return read_gradients(path.with_name("a.bval"), path.with_name("a.bvec"), 4)


# --- JSON, TSV, TOML, YAML


_SIDECAR = {
    "Manufacturer": "SIEMENS",
    "ManufacturersModelName": "MAGNETOM Prisma_fit",
    "MagneticFieldStrength": 2.89,
    "InstitutionName": "COI",
    "EchoTime": 0.003,
    "ImageType": ["ORIGINAL", "PRIMARY"],
}


def _read_sidecar(path: Path) -> object:
    """As far as the output's sidecar, without asking PyBIDS."""
    from bids_harmony.bids.dataset import Scan
    from bids_harmony.bids.derivative import write_json
    from bids_harmony.bids.inventory import read_json_object
    from bids_harmony.bids.naming import harmonized_path
    from bids_harmony.bids.sidecar import harmonized_sidecar
    from bids_harmony.bids.site import SiteTables, resolve_site
    from bids_harmony.exceptions import SiteError, UsageError

    metadata = read_json_object(path)
    image, out = path.with_name("sub-1_T1w.nii.gz"), path.parent / "out"
    try:
        site = resolve_site(
            subject="1",
            session=None,
            filename="sub-1_T1w.nii.gz",
            metadata=metadata,
            tables=SiteTables(),
        )
    except SiteError:
        return None
    scan = Scan(image, {"subject": "1", "datatype": "anat"}, "T1w", metadata, site)
    record = harmonized_sidecar(
        scan, path.parent, target=site.site, method="ihf", resume_hash="0", skull_stripped=False
    )
    write_json(path.with_name("written.json"), record)
    try:
        target = harmonized_path(out, scan, site.site)
    except UsageError:
        return None
    assert target.parent == out / "sub-1" / "anat" and ".." not in target.parts
    return json.loads(path.with_name("written.json").read_text(encoding="utf-8"))


def _read_table(path: Path) -> object:
    from bids_harmony.bids.table import read_tsv

    return read_tsv(path)


def _read_site_map(path: Path) -> object:
    from bids_harmony.bids.site import read_site_map

    return read_site_map(path)


def _read_filters(path: Path) -> object:
    from bids_harmony.bids.filters import read_filter_file

    return read_filter_file(path)


def _read_config(path: Path) -> object:
    from bids_harmony.exceptions import UsageError
    from bids_harmony.settings import Settings, read_settings_file

    record = read_settings_file(path)
    for name in ("bids_dir", "output_dir", "work_dir"):
        record[name] = path.parent
    try:
        return Settings.from_dict({**record, "analysis_level": "group"}).to_toml()
    except UsageError:
        # A value out of range: it may come from the command line too, and names its option.
        return None


_CONFIG = b"""target_site = "COI"
participant_labels = ["01", "02"]
voxel_mm = 2.0
nprocs = 1
omp_nthreads = 1
memory_mb = 4000
bids_filters = '{"T1w": {"acquisition": null}}'
device = "cpu"
[derivatives]
fits = "/data/fits"
[training]
grid = 4
twin_learning_rate = 1e-4
"""


def _read_plugin_file(path: Path) -> object:
    from bids_harmony.workflows.plugin_file import read_plugin_file

    return read_plugin_file(path)


# --- models


@cache
def _model() -> tuple[bytes, bytes]:
    """Description and weights of the smallest network."""
    import tempfile

    from bids_harmony.model.checkpoint import METADATA_FILE, WEIGHTS_FILE, save_model
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import AANConfig, NetworkConfig

    aan = AANConfig(grid=1, head_channels=2, embedding=2, projection=(2, 2), map_channels=2)
    config = NetworkConfig(squeeze=(1,), splits=(2,), hidden=(2,), pad=0, aan=aan)
    with tempfile.TemporaryDirectory() as folder:
        encoder = {"name": "none", "sha256": "0"}
        save_model(Path(folder), IHFNetwork(config, 3), encoder, {})
        return tuple((Path(folder) / name).read_bytes() for name in (METADATA_FILE, WEIGHTS_FILE))  # type: ignore[return-value]


def _weights_beside(folder: Path, content: bytes) -> None:
    if not (folder / "model.safetensors").exists():
        (folder / "model.safetensors").write_bytes(_model()[1])


def _description_beside(folder: Path, content: bytes) -> None:
    """Of whatever weights: their checksum is right."""
    record = json.loads(_model()[0])
    record["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(record))


def _load_model(path: Path) -> object:
    from bids_harmony.model.checkpoint import load_model

    return load_model(path.parent)


def _read_fitted(path: Path) -> object:
    from bids_harmony.model.fitted_files import read_fitted

    return read_fitted(path.parent, "ihf")


def _read_bank_file(path: Path) -> object:
    from bids_harmony.training.bank_files import read_bank, read_made_of, read_site

    return read_bank(path), read_made_of(path), read_site(path)


def _read_banks(path: Path) -> object:
    from bids_harmony.training.bank_files import read_banks

    return read_banks(path.parent)


@cache
def _banks() -> list[bytes]:
    import tempfile

    from bids_harmony.training.bank_files import write_bank
    from bids_harmony.training.site_bank import SiteBank

    bank = SiteBank(
        site="COI",
        modality="T1w",
        mean_image=np.ones((2, 2, 2), np.float32),
        landmarks=np.arange(11.0),
        quantiles=np.arange(101.0),
        codes=np.ones((1, 3), np.float32),
        texture=np.ones((2, 1, 1, 1), np.float32),
        tissue_means=np.ones(3),
        field=np.zeros(20),
        scale=100.0,
        scans=("sub-1_T1w",),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bank.safetensors"
        write_bank(path, bank, 2.0, {"scans": ["sub-1_T1w"]})
        return [path.read_bytes()]


@cache
def _ranges() -> list[bytes]:
    from safetensors.numpy import save

    arrays = {
        "T1w.mean": np.zeros(3, np.float32),
        "T1w.basis": np.ones((2, 3), np.float32),
        "T1w.variances": np.ones(2, np.float32),
        "T1w.rest": np.ones(1, np.float32),
        "T1w.limit": np.ones(1, np.float32),
    }
    return [save(arrays)]


def _read_ranges(path: Path) -> object:
    from bids_harmony.training.training_range import read_ranges

    return read_ranges(path.parent)


def _read_look(path: Path) -> object:
    from bids_harmony.diffusion.looks import SeriesLook

    return SeriesLook.read(path)


_LOOK = {
    "site": "COI",
    "scans": [
        [
            "sub-1_dwi",
            {"noise": 0.1, "water": 1.0, "levels": {"1000": [0.1]}, "quantiles": {"1000": [0.5]}},
        ]
    ],
}


def _read_tensors(path: Path) -> object:
    from bids_harmony.model.encoder_files import read_tensors

    return read_tensors(path)


@cache
def _torch_file() -> list[bytes]:
    import torch

    packed = io.BytesIO()
    torch.save({"0.weight": torch.ones(2, 2)}, packed)
    return [packed.getvalue()]


# --- what participants leave for the group


def _load_summary(path: Path) -> object:
    from bids_harmony.quality.summary import load_summary

    return load_summary(path)


@cache
def _summaries() -> list[bytes]:
    import tempfile

    from bids_harmony.quality.summary import ScanSummary, SeriesSummary, save_summary

    scan = ScanSummary(
        quantiles=np.zeros((2, 4, 101), np.float32),
        target_quantiles=np.zeros(3, np.float32),
        features=np.ones((4, 2), np.float32),
        head=np.zeros(2, np.float16),
        detail=np.zeros(2, np.float32),
        change=np.zeros((2, 2, 2), np.float16),
        voxel_mm=2.0,
    )
    series = SeriesSummary(
        ("fa",), np.zeros((2, 1, 64), np.float32), np.zeros((2, 1, 2), np.float32)
    )
    contents = []
    with tempfile.TemporaryDirectory() as folder:
        for summary in (scan, series):
            save_summary(Path(folder) / "a.npz", summary)
            contents.append((Path(folder) / "a.npz").read_bytes())
    return contents


def _read_transform(path: Path) -> object:
    from bids_harmony.imaging.transforms import read_transform

    return read_transform(path)


_TRANSFORM = b"""#Insight Transform File V1.0
#Transform 0
Transform: AffineTransform_double_3_3
Parameters: 1 0 0 0 1 0 0 0 1 3 4 5
FixedParameters: 0 0 0
"""


def _json(record: Any) -> list[bytes]:
    return [json.dumps(record, indent=1).encode()]


_JSON_WORDS = ("NaN", "Infinity", "1e999", "null", "true", "[]", "{}", '"\\ud800"', "9" * 30)
_TENSOR_WORDS = ('"F32"', '"F8_E4M3"', '"BF16"', '"shape":[', '"data_offsets":[', "4294967296")

PARSERS: dict[str, Parser] = {
    "volume": Parser("a.nii", _read_volume, _volumes),
    "volume-gz": Parser("a.nii.gz", _read_volume, _volumes, pack=lambda c: gzip.compress(c, 1)),
    "volume-damaged-gz": Parser(
        "a.nii.gz", _read_volume, lambda: [gzip.compress(c) for c in _volumes()]
    ),
    "series": Parser("a.nii", _open_series, _all_series),
    "bval": Parser(
        "a.bval",
        _read_gradients,
        lambda: [_BVAL],
        ("nan", "inf", "1e999", "-1"),
        beside=lambda folder, _: (folder / "a.bvec").write_bytes(_BVEC),
    ),
    "bvec": Parser(
        "a.bvec",
        _read_gradients,
        lambda: [_BVEC],
        ("nan", "inf", "1e999", "-1"),
        beside=lambda folder, _: (folder / "a.bval").write_bytes(_BVAL),
    ),
    "transform": Parser("a.txt", _read_transform, lambda: [_TRANSFORM], ("nan", "1e999", "--")),
    "sidecar": Parser(
        "sub-1_T1w.json", _read_sidecar, lambda: _json(_SIDECAR), (*_SIDECAR, *_JSON_WORDS)
    ),
    "tsv": Parser(
        "participants.tsv", _read_table, lambda: [b"participant_id\tsite\nsub-01\tCOI\n"]
    ),
    "site-map": Parser(
        "sites.tsv",
        _read_site_map,
        lambda: [b"participant_id\tsession_id\tsite\nsub-01\tses-1\tCOI\n"],
    ),
    "filters": Parser(
        "filter.json",
        _read_filters,
        lambda: _json({"t1w": {"session": "01", "acquisition": None}, "t2w": {"run": [1, 2]}}),
        _JSON_WORDS,
    ),
    "config": Parser(
        "settings.toml",
        _read_config,
        lambda: [_CONFIG],
        ("nan", "inf", "1979-05-27", "0x", '"""', "[[", "training", "provenance"),
    ),
    "plugin": Parser(
        "plugin.yml",
        _read_plugin_file,
        lambda: [b"plugin: MultiProc\nplugin_args:\n  n_procs: 2\n  memory_gb: 4.5\n"],
        ("&a", "*a", "!!python/object", "<<:", "2020-99-99", ".nan", "? "),
    ),
    "model-description": Parser(
        "model.json",
        _load_model,
        lambda: [_model()[0]],
        _JSON_WORDS,
        beside=_weights_beside,
    ),
    "model-weights": Parser(
        "model.safetensors",
        _load_model,
        lambda: [_model()[1]],
        _TENSOR_WORDS,
        beside=_description_beside,
    ),
    "fitted-description": Parser(
        "model.json", _read_fitted, lambda: [_model()[0]], _JSON_WORDS, beside=_weights_beside
    ),
    "bank": Parser("bank.safetensors", _read_bank_file, _banks, _TENSOR_WORDS),
    "banks": Parser("banks.safetensors", _read_banks, _banks, _TENSOR_WORDS),
    "range": Parser("range.safetensors", _read_ranges, _ranges, _TENSOR_WORDS),
    "look": Parser("look.json", _read_look, lambda: _json(_LOOK), _JSON_WORDS),
    "encoder": Parser("encoder.safetensors", _read_tensors, _ranges, _TENSOR_WORDS),
    "encoder-torch": Parser("encoder.pth", _read_tensors, _torch_file),
    "summary": Parser("a.npz", _load_summary, _summaries, ("<f4", "|O", "(2, 4, 101)", "fortran")),
}
