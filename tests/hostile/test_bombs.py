"""Small files that claim or become much: refused before memory is taken. And past crashes."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zipfile

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import BidsHarmonyError, DataError, ImageError
from bids_harmony.imaging.volume import read_volume
from bids_harmony.io import nifti_file
from bids_harmony.io.nifti_file import check_size, read_content, unpack
from tests.hostile.parser import outcome
from tests.hostile.parsers import PARSERS

MIB = 2**20


@pytest.fixture
def peak_mib():
    """MiB that Python and numpy took at most since the fixture was made."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1] / MIB
    tracemalloc.stop()


def header_of(shape, dtype=np.int16):
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(np.diag([1.0, 1, 1, 1]), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def test_a_packed_gigabyte_behind_a_small_header_is_not_unpacked(tmp_path, peak_mib):
    bomb = tmp_path / "bomb.nii.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(header_of((4, 4, 4)))
        for _ in range(256):
            file.write(bytes(MIB))
    before = peak_mib()
    with pytest.raises(ImageError, match=r"unpacks to more than it announces \[.*bomb"):
        read_volume(bomb)
    assert peak_mib() - before < 8


def test_a_header_that_claims_more_than_the_memory(tmp_path, peak_mib, monkeypatch):
    monkeypatch.setattr(nifti_file, "available_memory_mb", lambda: 4096)
    for name, pack in (("a.nii", bytes), ("a.nii.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack(header_of((30000, 30000, 30000))))
        with pytest.raises(ImageError, match="larger than the memory of this job"):
            read_volume(tmp_path / name)
    assert peak_mib() < 4


@pytest.mark.parametrize(
    ("shape", "width", "memory_mb", "fits"),
    [
        ((512, 512, 512), 2, 2048, True),  # 4 bytes stored twice, 8 of float32: 1.5 GiB
        ((512, 512, 512), 2, 1024, False),
        ((512, 512, 512), 4, 2048, True),
        ((140, 140, 90, 300), 2, 4096, True),  # a long diffusion series
        ((140, 140, 90, 300), 8, 4096, False),
    ],
)
def test_large_images_are_weighed_by_their_headers(monkeypatch, shape, width, memory_mb, fits):
    monkeypatch.setattr(nifti_file, "available_memory_mb", lambda: memory_mb)
    if fits:
        check_size(shape, width, "a.nii")
    else:
        with pytest.raises(ImageError, match="x".join(map(str, shape))):
            check_size(shape, width, "a.nii")


def test_gradients_are_short(tmp_path):
    (tmp_path / "a.bval").write_bytes(gzip.compress(b"0 " * 10 * MIB))
    with pytest.raises(DataError, match="unpacks to more"):
        read_content(tmp_path / "a.bval", most=MIB)


def test_members_of_gzip_are_joined_and_zeros_may_follow():
    packed = gzip.compress(b"one") + gzip.compress(b"two") + bytes(9)
    assert unpack(packed, 100) == gzip.decompress(packed) == b"onetwo"
    assert len(unpack(packed, 4)) == 5


def test_texts_are_not_larger_than_any_text(tmp_path):
    from bids_harmony.bids.inventory import read_json_object
    from bids_harmony.io import reading

    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(reading.MOST_TEXT + 1)  # takes no room on the disk
    with pytest.raises(DataError, match=r"too large \[.*a.json\].*64.0 MiB"):
        read_json_object(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 10_000, '{"a": ' * 50_000])
@pytest.mark.parametrize("name", ["sidecar", "filters", "model-description"])
def test_json_that_is_deep_or_long(name, text, tmp_path):
    assert outcome(PARSERS[name], tmp_path, text.encode()) != "value"


def npz(arrays, compression=zipfile.ZIP_DEFLATED, **more):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in (arrays | more).items():
            archive.writestr(name, content)
    return packed.getvalue()


def npy(shape, dtype="<f4", body=b""):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        npz({"quantiles.npy": npy((10**6, 10**6))}),
        npz({"quantiles.npy": npy((4,), body=bytes(200 * MIB))}),
        npz({f"{n}.npy": npy((1,), body=bytes(4)) for n in range(100)}),
        npz({"quantiles.txt": b"no array"}),
        npz({"quantiles.npy": npy((1,), "|O", b"cos\nsystem\n(S'true'\ntR.")}),
    ],
    ids=["claims", "packed", "many", "text", "pickle"],
)
def test_summaries(content, tmp_path, peak_mib):
    assert len(content) < MIB
    before = peak_mib()
    assert outcome(PARSERS["summary"], tmp_path, content) == "DataError"
    assert peak_mib() - before < 4


@pytest.mark.parametrize(
    "change", ["hidden", "splits", "squeeze", "couplings", "embedding", "grid"]
)
@pytest.mark.parametrize("value", [10**9, 10**30, -1, 0.5, "2", None, [10**6] * 20])
def test_networks_are_no_larger_than_their_weights(change, value, tmp_path, peak_mib):
    record = json.loads(PARSERS["model-description"].seeds()[0])
    table = record["network"]
    if change in table["aan"]:
        table = table["aan"]
    table[change] = [value] if isinstance(table[change], list) else value
    before = peak_mib()
    assert outcome(PARSERS["model-description"], tmp_path, json.dumps(record).encode()) != "value"
    assert peak_mib() - before < 16


def test_a_large_network_is_compared_before_it_is_made(tmp_path, peak_mib):
    """Allowed by the description's own limits, and 3 GiB."""
    record = json.loads(PARSERS["model-description"].seeds()[0])
    record["network"]["hidden"] = [16384]
    record["network"]["aan"]["projection"] = [16384, 16384]
    parser = PARSERS["model-description"]
    (tmp_path / parser.file).write_text(json.dumps(record))
    parser.beside(tmp_path, b"")
    with pytest.raises(DataError, match="do not fit the network"):
        parser.read(tmp_path / parser.file)
    assert peak_mib() < 16


# --- what the fuzzer found, before it was mended


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("transform", b"Transform: AffineTransform_3_3\nParameters: " + b"0 " * 12, "DataError"),
        ("transform", b"Transform: AffineTransform_3_3\nParameters: 1.2.3 --", "DataError"),
        ("sidecar", b'{"InstitutionName": "COI", "EchoTime": NaN}', "value"),
        ("sidecar", b'{"InstitutionName": "COI\\ud800"}', "DataError"),
        ("sidecar", b'{"InstitutionName": "COI", "MagneticFieldStrength": 1e999}', "value"),
        ("filters", b'{"t1w": {"run": "\xff"}}', "DataError"),
        ("filters", b'{"t1w": {"run": {"a": 1}}}', "UsageError"),
        ("plugin", b"plugin: \xff", "UsageError"),
        ("plugin", b"plugin: 2020-99-99", "UsageError"),
        ("plugin", b"plugin: MultiProc\nplugin_args: [n_procs]", "UsageError"),
        ("plugin", b"plugin_args: {n_procs: many}", "UsageError"),
        ("plugin", b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n".encode()
            for n in range(9)
        ) + b"plugin: *j", "UsageError"),
        ("config", b"voxel_mm = nan", "UsageError"),
        ("config", b"voxel_mm = 0x" + b"f" * 5000, "UsageError"),
        ("config", b"derivatives = {a = 1}", "UsageError"),
        ("config", b"a = " + b"[" * 5000, "UsageError"),
        ("sidecar", b'{"ImageType": ' + b"[" * 600 + b"]" * 600 + b"}", "DataError"),
        ("run-status", b'{"scans": ' + b"[" * 600 + b"]" * 600 + b"}", "value"),
        ("run-status", b'{"scans": {"sub-1_T1w": []}}', "value"),
        ("run-settings", b"a" + b".a" * 1000 + b" = 1", "value"),
        ("output-sidecar", b'{"HarmonizationMethod": 1, "HarmonizationTarget": 2, "Sources": 3}',
         "value"),
        ("output-sidecar", b'{"HarmonizationMethod": "", "HarmonizationTarget": "COI",'
         b'"HarmonizationQuality": {"site": 5}}', "value"),
        ("people", b"participant_id\tage\nsub-01\tinf\nsub-02\t5\n", "value"),
        ("output-sidecar", b'{"HarmonizationMethod": "", "HarmonizationTarget": "COI", "Sources":'
         b' ["bids:raw:../../x", "bids::../../x_mask.nii.gz", "bids::/etc/x_xfm.txt"]}', "value"),
    ],
)  # fmt: skip
def test_past_crashes(name, content, error, tmp_path):
    assert outcome(PARSERS[name], tmp_path, content) == error


@pytest.mark.parametrize("offset", [-1e30, 1e30, float("inf"), float("nan"), 2.0**62])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_voxels_that_begin_anywhere(offset, pack, tmp_path):
    content = bytearray(header_of((4, 4, 4)) + bytes(128))
    content[108:112] = struct.pack("<f", offset)
    (tmp_path / "a.nii").write_bytes(pack(bytes(content)))
    with pytest.raises(BidsHarmonyError, match=r"a\.nii"):
        read_volume(tmp_path / "a.nii")
