"""Whatever a file holds, its reader gives a value or an error of ours that names the file."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.parser import outcome
from tests.hostile.parsers import PARSERS

LONGEST_S = 5.0
#: The same inputs each time; `benchmarks/fuzz.py` looks for new ones.
SMALL = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
JSON_FILES = (
    "sidecar", "filters", "model-description", "fitted-description", "look", "dataset-description",
    "output-sidecar", "run-status",
)  # fmt: skip
IMAGES = ("volume", "volume-gz", "series")


def check(name: str, folder: Path, content: bytes) -> str:
    """Read, within the time, and write nothing beside what the reader's own test writes."""
    before = set(folder.parent.iterdir())
    # Of this process: a busy machine is no fault of a reader.
    start = time.process_time()
    came = outcome(PARSERS[name], folder, content)
    assert time.process_time() - start < LONGEST_S
    assert set(folder.parent.iterdir()) == before
    return came


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """A sound file with a few bytes overwritten, cut, doubled, or words put in."""
    parser = PARSERS[name]
    content = bytearray(draw(st.sampled_from(parser.seeds())))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        upto = min(len(content), at + draw(st.sampled_from([0, 1, 2, 8, 64])))
        words = [st.binary(max_size=9), st.just(bytes(content[at:upto]) * 2)]
        if parser.words:
            words.append(st.sampled_from(parser.words).map(str.encode))
        content[at:upto] = draw(st.one_of(words))
    return bytes(content)


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_files(name, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()

    @SMALL
    @given(mutated(name))
    def damaged(content):
        check(name, folder, content)

    damaged()


@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes(name, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()

    @settings(SMALL, max_examples=15)
    @given(st.binary(max_size=600))
    def anything(content):
        check(name, folder, content)

    anything()


ANY_JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.floats(), st.text(max_size=5),
        st.sampled_from([0, -1, 2**31, 2**63, 10**40]),
        st.sampled_from(["../../x", "/etc", "<script>", "\x00", "nan"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


def _put(value: Any, at: tuple, new: Any) -> Any:
    if not at:
        return new
    copied = value.copy()
    copied[at[0]] = _put(value[at[0]], at[1:], new)
    return copied


@pytest.mark.parametrize("name", JSON_FILES)
def test_json_of_another_form(name, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    sound = json.loads(PARSERS[name].seeds()[0])
    places = _places_of(sound)

    @settings(SMALL, max_examples=100)
    @given(st.sampled_from(places), ANY_JSON)
    def of_another_form(at, new):
        check(name, folder, json.dumps(_put(sound, at, new)).encode("utf-8", "surrogatepass"))

    of_another_form()


def _places_of(value: Any) -> list[tuple]:
    if not isinstance(value, dict | list):
        return [()]
    children = value.items() if isinstance(value, dict) else enumerate(value)
    return [(), *((key, *rest) for key, child in children for rest in _places_of(child))]


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_headers_of_any_numbers(name, kind, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    layout = kind.template_dtype
    numbers = [field for field in layout.names if layout[field].kind != "S"]
    edges = st.sampled_from([0, 1, -1, 2, 4, 7, 127, -32768, 32767, 2**31 - 1, 2**62])
    values = st.one_of(edges, st.floats(width=32))
    sound = next(seed for seed in PARSERS[name].seeds() if kind.may_contain_header(seed))

    @settings(SMALL, max_examples=80)
    @given(st.lists(st.tuples(st.sampled_from(numbers), st.integers(0, 7), values), max_size=3))
    def of_any_numbers(changes):
        content = bytearray(sound)
        order = kind(bytes(content[: kind.sizeof_hdr]), check=False).endianness
        header = np.frombuffer(content, layout.newbyteorder(order), 1).copy()
        for field, index, value in changes:
            flat = header[field].reshape(-1)
            with np.errstate(all="ignore"):
                number = np.array(value).astype(flat.dtype, casting="unsafe")
            flat[index % flat.size] = number
            header[field] = flat.reshape(header[field].shape)
        content[: kind.sizeof_hdr] = header.tobytes()
        check(name, folder, bytes(content))

    of_any_numbers()


@pytest.mark.parametrize("name", ["model-weights", "profile", "banks", "range", "encoder"])
def test_tensors_that_claim_any_size(name, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    sound = PARSERS[name].seeds()[0]
    (length,) = struct.unpack("<Q", sound[:8])
    header, body = json.loads(sound[8 : 8 + length]), sound[8 + length :]
    size = st.sampled_from([0, 1, 3, 2**16, 2**32, 2**63, -1])

    @settings(SMALL, max_examples=60)
    @given(
        st.sampled_from(sorted(set(header) - {"__metadata__"})),
        st.lists(size, max_size=4),
        st.lists(size, min_size=2, max_size=2),
        st.sampled_from(["F32", "F16", "U8", "BF16", "F8_E4M3", "I64", "C64", "X"]),
    )
    def that_claim(tensor, shape, offsets, dtype):
        claimed = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        text = json.dumps(header | {tensor: claimed}).encode()
        check(name, folder, struct.pack("<Q", len(text)) + text + body)

    that_claim()


@settings(SMALL, max_examples=60)
@given(
    st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=4), min_size=1, max_size=4),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
)
def test_tables_of_any_text(rows, encoding):
    import tempfile

    text = "\n".join("\t".join(row) for row in [["participant_id", "site"], *rows])
    content = text.encode(encoding, "replace")
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "in"
        folder.mkdir()
        for name in ("tsv", "site-map"):
            check(name, folder, content)


@pytest.mark.parametrize("name", [n for n, p in PARSERS.items() if p.pack is bytes])
def test_what_is_no_regular_file(name, tmp_path):
    """A pipe would be waited for for ever; a folder and a link to nothing are no tracebacks."""
    from bids_harmony.exceptions import BidsHarmonyError

    parser = PARSERS[name]
    for number, spoil in enumerate(
        (os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path), lambda path: None)
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcome(parser, folder, parser.seeds()[0])
        path = folder / parser.file
        path.unlink()
        spoil(path)
        start = time.monotonic()
        try:
            parser.read(path)
        except BidsHarmonyError as error:
            assert str(folder) in str(error)
        else:
            assert parser.optional
        assert time.monotonic() - start < LONGEST_S
