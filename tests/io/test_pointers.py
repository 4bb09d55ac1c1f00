"""Content that was not fetched is told as such by every reader, and never taken for absent."""

from __future__ import annotations

import os

import pytest

from bids_harmony.bids.filters import read_filter_file
from bids_harmony.bids.site_tables import read_site_map
from bids_harmony.bids.table import read_tsv
from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.exceptions import NotFetched
from bids_harmony.imaging.transforms import read_transform
from bids_harmony.imaging.volume import read_volume
from bids_harmony.io.pointers import check_content
from bids_harmony.io.reading import object_or_empty, read_json, read_text
from bids_harmony.quality.summary import load_summary
from tests.pointers import COMMAND, KINDS, not_fetched

READERS = {
    "text": read_text,
    "json": read_json,
    "record of ours": object_or_empty,
    "table": read_tsv,
    "filter file": read_filter_file,
    "site map": read_site_map,
    "image": read_volume,
    "transform": read_transform,
    "summary": load_summary,
    "bval": lambda path: read_gradients(path, path, 4),
    "a look alone": check_content,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_names_the_file_and_the_command(tmp_path, reader, kind):
    path = not_fetched(tmp_path / "a_T1w.nii.gz", kind)
    with pytest.raises(NotFetched, match=COMMAND[kind]) as caught:
        READERS[reader](path)
    assert caught.value.exit_code == 66 and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"participant_id\tpath\nsub-01\t/annex/objects/KEY\n",
        b'{"file": "/annex/objects/KEY"}',
        b"filename\t/annex/objects/KEY\n",
        b"the version https://git-lfs.github.com/spec/v1\n",
        b"",
    ],
)
def test_a_file_that_speaks_of_pointers_is_none(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    check_content(path)
    assert read_text(path).encode() == content


@pytest.mark.parametrize(
    "line",
    [
        b"/annex/objects/MD5E-s1--0.json",
        b"/annex/objects/MD5E-s1--0.json\r\n",
        b"../.git/modules/raw/annex/objects/aa/bb/K/K",
        b"..\\.git\\annex\\objects\\aa\\bb\\K\\K",
        b"version https://git-lfs.github.com/spec/v1\r\next-0-x sha256:ab\r\noid sha256:cd\r\n",
        b"version https://hawser.github.com/spec/v1\noid sha256:ab\nsize 3\n",
    ],
)
def test_spellings_of_pointers(tmp_path, line):
    path = tmp_path / "a.json"
    path.write_bytes(line)
    for reader in (check_content, read_json):
        with pytest.raises(NotFetched):
            reader(path)


def test_a_name_with_a_blank_is_quoted_for_the_shell(tmp_path):
    path = not_fetched(tmp_path / "my data/a.json", "unlocked")
    with pytest.raises(NotFetched, match=f"datalad get '{path}'"):
        read_json(path)


def test_a_look_does_not_wait_for_a_pipe_nor_read_large_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    check_content(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"/annex/objects/K\n" + bytes(2**16))
    check_content(tmp_path / "large")
