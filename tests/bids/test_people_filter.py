"""Who fits a query on the tables; what a wrong query is told."""

from __future__ import annotations

import pytest

from bids_harmony.bids.people_filter import check_people_filter, columns_told, who_fits
from bids_harmony.exceptions import ExitCode, NothingSelected, UsageError

UNITS = [("01", None), ("02", None), ("03", None), ("04", None)]


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tgroup\tage\tcode\tmean score\n"
        "sub-01\tcontrol\t30\t1\t5\nsub-02\tpatient\t89+\t2\t6\n"
        "sub-03\tcontrol\tn/a\t1\t7\nsub-04\tn/a\t61\t2\t8\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("query", "fitting"),
    [
        ("group == 'control'", "13"),
        ('group == "control" and age < 60', "1"),
        ("age > 60", "24"),
        ("group != 'patient'", "134"),
        ("group.isin(['patient', 'other'])", "2"),
        ("group.str.startswith('con') == True", "13"),
        ("age.isna()", "3"),
        ("code == 1", "13"),
        ("`mean score` >= 6.5", "34"),
        ("participant_id == 'sub-02'", "2"),
        ("not group == 'control'", "24"),
    ],
)
def test_who_fits(dataset, query, fitting):
    found = who_fits(dataset, query, UNITS)
    assert "".join(unit[0][1] for unit, fits in zip(UNITS, found, strict=True) if fits) == fitting


def test_whoever_stands_in_no_table_fits_nothing(dataset):
    assert who_fits(dataset, "group == 'control'", [("09", None), ("03", None)]) == [False, True]


def test_a_session_s_word_counts_more(dataset):
    folder = dataset / "sub-01"
    folder.mkdir()
    (folder / "sub-01_sessions.tsv").write_text("session_id\tgroup\nses-2\tpatient\n")
    units = [("01", "1"), ("01", "2")]
    assert who_fits(dataset, "group == 'control'", units) == [True, False]


def test_the_kind_of_a_column_is_that_of_all_people(dataset):
    """With one person alone, a column of words and numbers would look like one of numbers."""
    table = dataset / "participants.tsv"
    table.write_text(table.read_text() + "sub-05\tcontrol\t20\tx\t9\n")
    assert who_fits(dataset, "code == '1'", [("01", None)]) == [True]


@pytest.mark.parametrize(
    "query",
    [
        "gruop == 'control'", "group = 'control'", "group == ", "age + 1", "1 == 1", "age > 'x'",
        "group.str.starts('c')", "@group == 1", "group.to_csv('stolen')", "", "group.__class__",
        "age and",
    ],
)  # fmt: skip
def test_a_query_that_fails_names_the_columns(dataset, query):
    with pytest.raises(UsageError) as caught:
        who_fits(dataset, query, UNITS)
    told = str(caught.value)
    assert "group ('control', 'patient')" in told and "age (numbers)" in told and query in told
    assert caught.value.exit_code == ExitCode.USAGE
    assert not list(dataset.glob("stolen*"))


def test_words_in_quotation_marks_are_no_calls(dataset):
    assert who_fits(dataset, "group == 'a.b @ c'", UNITS) == [False] * 4


def test_a_dataset_without_a_table_cannot_be_asked(tmp_path):
    with pytest.raises(UsageError, match=r"participants\.tsv"):
        check_people_filter(tmp_path, "group == 'control'", UNITS)


def test_a_query_that_nobody_scanned_fits_is_one_error(dataset):
    check_people_filter(dataset, "age == 61", UNITS)
    with pytest.raises(NothingSelected, match="none of 3 fits") as caught:
        check_people_filter(dataset, "age == 61", UNITS[:3])
    assert "--profile-filter" in str(caught.value) and "age (numbers)" in str(caught.value)


def test_columns_of_sessions_alone_can_be_asked_for(dataset):
    (dataset / "sub-01").mkdir()
    (dataset / "sub-01/sub-01_sessions.tsv").write_text("session_id\tstate\nses-2\twell\n")
    check_people_filter(dataset, "state == 'well'", [("01", "1"), ("01", "2")])


def test_the_log_tells_nothing_of_single_people(dataset):
    table = dataset / "participants.tsv"
    names = iter(["alias", "Ann Smith", "Bo Li", "Cy Diaz", "Di Roy"])
    lines = [f"{line}\t{next(names)}" for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    for told in (columns_told(dataset), columns_told(dataset, UNITS)):
        assert "alias" in told and "Smith" not in told and "89" not in told
        assert "group ('control', 'patient')" in told
