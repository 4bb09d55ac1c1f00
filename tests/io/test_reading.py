"""Files from outside: what is read, and by what error the rest is refused."""

from __future__ import annotations

import logging
import os

import pytest

from bids_harmony.exceptions import (
    CannotCreateOutput,
    DataError,
    InputOutputError,
    MissingInput,
)
from bids_harmony.io.locks import locked
from bids_harmony.io.names import file_stem
from bids_harmony.io.reading import (
    is_too_deep,
    object_or_empty,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    shown,
    size_in_words,
)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/sub-01_T1w.nii.gz", "sub-01_T1w"),
        ("sub-01_T1w.json", "sub-01_T1w"),
        ("README", "README"),
        ("a.b/c", "c"),
    ],
)
def test_a_stem_ends_at_the_first_dot(name, stem):
    assert file_stem(name) == stem


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (2**20 - 1, "1048575 bytes"), (2**20, "1.0 MiB"), (5 * 2**19, "2.5 MiB")],
)
def test_sizes_in_words(count, words):
    assert size_in_words(count) == words


def test_a_file_is_read_up_to_its_limit_and_not_beyond(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 70_000)
    assert read_bytes(path, most=70_000) == b"x" * 70_000
    with pytest.raises(DataError, match=r"the table is too large.*at most 69999 bytes.*70000"):
        read_bytes(path, most=69_999, holds="table")
    path.write_bytes(b"")
    assert read_bytes(path, most=0) == b""


def test_what_is_no_file_is_told_apart(tmp_path):
    with pytest.raises(MissingInput, match="no such file"):
        read_bytes(tmp_path / "none", most=9)
    with pytest.raises(MissingInput, match="a folder where the sidecar should be"):
        read_bytes(tmp_path, most=9, holds="sidecar")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputOutputError, match=r"the table is no regular file.*pipe") as caught:
        read_bytes(tmp_path / "pipe", most=9, holds="table")
    assert caught.value.where == str(tmp_path / "pipe")
    with pytest.raises(InputOutputError, match=r"the file cannot be read.*null byte"):
        read_bytes("a\0b", most=9)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputOutputError, match="symbolic links") as caught:
        read_bytes(tmp_path / "loop", most=9)
    assert caught.value.where == str(tmp_path / "loop")


def test_a_file_that_grows_or_says_that_it_is_empty_is_measured_by_what_is_read(tmp_path):
    with open("/proc/self/status", "rb") as stream:
        some = stream.readline()
    assert read_bytes("/proc/self/status", most=2**16).startswith(some)
    with pytest.raises(DataError, match="too large"):
        read_bytes("/proc/self/status", most=10)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"a\xc3\xa4", "aä"), (b"\xef\xbb\xbfa", "a"), (b"", "")],
)
def test_text_is_utf_8_with_or_without_a_mark(content, text, tmp_path):
    (tmp_path / "a.tsv").write_bytes(content)
    assert read_text(tmp_path / "a.tsv") == text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("ä".encode("utf-16-le").join([b"\xff\xfe", b""]), "Unicode text"),
        ("ä".encode("utf-16-be").join([b"\xfe\xff", b""]), "Unicode text"),
        (b"caf\xe9 ", "invalid continuation byte"),
    ],
)
def test_other_text_is_refused_with_its_kind(content, told, tmp_path):
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(DataError, match=rf"the table is not UTF-8 text \[.*a\.tsv\].*{told}"):
        read_text(tmp_path / "a.tsv", holds="table")
    with pytest.raises(DataError, match="too large"):
        read_text(tmp_path / "a.tsv", most=2)


def test_json_is_read_and_what_is_none_says_where(tmp_path):
    path = tmp_path / "sub-01_T1w.json"
    path.write_text('{"a": [1, NaN, "\\ud83d\\ude00"]}')
    found = read_json(path)["a"]
    assert found[0] == 1 and found[1] != found[1] and found[2] == "\U0001f600"
    path.write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(DataError, match=r"line 2, column 6.*other subjects") as caught:
        read_json(path)
    assert caught.value.where == f"{path}, line 2, column 6"
    with pytest.raises(DataError, match=r"Correct the file\.$"):
        parse_json("{", "sub-01/settings.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 150 + "]" * 150, "nested too deep.*at most 100 levels"),
        ("[" * 100_000, "nested too deep"),
        ('"\\ud800"', r"half a character \[a\.json\].*ud800"),
        ('"\\uD800"', "half a character"),
        ("9" * 5000, r"cannot be read \[a\.json\]"),
    ],
)
def test_json_that_no_program_could_use_is_refused(text, told):
    with pytest.raises(DataError, match=told):
        parse_json(text, "a.json")


@pytest.mark.parametrize(("depth", "deep"), [(1, False), (99, False), (101, True)])
@pytest.mark.parametrize("table", [True, False])
def test_a_hundred_levels_are_not_too_deep(depth, deep, table):
    value = 1
    for _ in range(depth):
        value = {"a": value} if table else [0, value]
    assert is_too_deep(value) is deep


def test_a_record_of_an_earlier_run_is_whole_or_nothing(tmp_path):
    path = tmp_path / "a.json"
    assert object_or_empty(path) == {}
    for text, found in (('{"a": 1}', {"a": 1}), ('{"a"', {}), ("[1]", {})):
        path.write_text(text)
        assert object_or_empty(path) == found
    path.write_text("/annex/objects/MD5E-s7654--0123.json\n")
    with pytest.raises(MissingInput, match="git-annex"):
        object_or_empty(path)


def test_a_value_is_shown_on_one_line():
    assert shown("abc") == "'abc'" and shown([1, 2]) == "[1, 2]"
    assert shown([[[[1]]]]) == "[[[...]]]" or shown([[[[1]]]]) == "[[...]]"
    assert len(shown({str(i): "x" * 500 for i in range(50)})) <= 200
    assert shown(10**5000) == "a int that is too long to be shown"


def test_a_lock_is_held_within_and_free_after(tmp_path):
    from filelock import FileLock, Timeout

    path = tmp_path / "new" / "folder" / ".lock"
    with locked(path):
        assert path.is_file()
        with pytest.raises(Timeout):
            FileLock(path, timeout=0).acquire()
    with FileLock(path, timeout=0):
        pass
    with pytest.raises(RuntimeError, match="inside"), locked(path):
        raise RuntimeError("inside")
    with FileLock(path, timeout=0):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateOutput, match="cannot be made or written to") as caught:
        with locked(tmp_path / "file" / "folder" / ".lock"):
            raise AssertionError("never reached")
    assert caught.value.where == str(tmp_path / "file" / "folder")


def test_where_there_are_no_locks_the_job_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    import errno

    def refuse(self):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    done = []
    with caplog.at_level(logging.WARNING), locked(tmp_path / ".lock"):
        done.append(1)
    assert done == [1] and f"No locks in {tmp_path}" in caplog.text


def test_a_file_has_a_name_in_messages_whatever_it_holds(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\xff")
    for read, name in ((read_text, "file"), (read_json, "JSON file")):
        with pytest.raises(DataError, match=f"^the {name} is not UTF-8"):
            read(path)
        with pytest.raises(MissingInput, match=f"^a folder where the {name} should be"):
            read(tmp_path)
