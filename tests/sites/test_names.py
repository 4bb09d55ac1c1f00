"""Names of sites: what is one name, what says nothing, and who may be meant."""

import pytest

from bids_harmony.sites.names import (
    alphanumeric,
    canonical_site,
    clean_name,
    find_name,
    name_key,
    said,
    same_site,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("site COI", "COI"), (" siteCOI ", "COI"), ("SITE_COI", "COI"), ("Site-a", "a"),
        ("site01", "site01"), ("sites", "sites"), ("site ", "site"), ("sITE COI", "sITE COI"),
        ("two  words\t here", "two words here"), ("a\x00b\x9fc", "a b c"),
        ("u\u0308", "ü"), (None, ""), ("my site COI", "my site COI"),
    ],
)  # fmt: skip
def test_a_name_is_cleaned(text, name):
    assert clean_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        None, "", " n/a ", "NaN", "None", "#N/A", "<na>", "tbd", "[REDACTED]", "---", "xxx",
        "XXXX", "Unknown", "Unknown Institution", "not specified", "Anonymized Hospital",
        "anonymous", "pseudonymized", "no name given not known", "removed by anonymizer",
    ],
)  # fmt: skip
def test_what_says_nothing_is_no_site(text):
    assert canonical_site(text) is None


@pytest.mark.parametrize(
    "text", ["0", "00", "x", "xx", "Hospital", "center 1", "Institute of Unknown Diseases", "NAN2"]
)
def test_what_says_something_is_a_site(text):
    assert canonical_site(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (67060.0, "67060"), (67060, "67060"), (1.5, "1.5"), ("67060", "67060"), (" A ", "A"),
        (0, None), ("0", None), ("0.0", None), ("0000-00:00", None), (0.0, None),
        (True, None), (None, None), (["a"], None), ("", None), ("n/a", None), ("unknown", None),
        (1e400, "inf"),
    ],
)  # fmt: skip
def test_what_a_sidecar_says(value, text):
    assert said(value) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "01"), ("1", "+1.00"), ("-0", "0"), ("10", "1e1"[0] + "0"), ("site A", " A"),
     ("u\u0308", "ü"), ("100", "100.0")],
)  # fmt: skip
def test_two_spellings_of_one_site(one, other):
    assert same_site(one, other) and same_site(other, one)
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "10"), ("a", "A"), ("1", "1a"), ("1.5T", "15T"), ("0.1", "01"), ("1", "-1"),
     ("1e3", "1000"), ("9" * 31, "9" * 31 + ".0")],
)  # fmt: skip
def test_two_sites(one, other):
    assert not same_site(one, other)


def test_numbers_have_one_key():
    assert name_key("007.50") == "7.5" and name_key("-0.0") == "0" and name_key("A 1.0") == "A 1.0"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("UCL 1-1", "UCL11"), ("Philips-Achieva-1.5T", "PhilipsAchieva1p5T"), ("1.0", "1"),
        ("a_b.c", "abc"), ("2.5", "2p5"), ("München", "München"), ("A.1", "A1"), ("1.A", "1A"),
    ],
)  # fmt: skip
def test_a_label_of_bids_holds_letters_and_digits(name, label):
    assert alphanumeric(name) == label


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("GE", ["GE"]), ("Ge", ["GE", "ge"]), ("1.0", ["1"]), ("ucl-1", ["UCL 1"]),
        ("ucl 1", ["UCL 1"]), ("UCL1", ["UCL 1"]), ("15t", ["15T"]), ("1.5t", ["1.5T"]),
        ("new", []), ("", []), ("--", []),
    ],
)  # fmt: skip
def test_who_is_meant(asked, found):
    assert find_name(asked, ["ge", "GE", "1", "UCL 1", "15T", "1.5T", "GE", "..."]) == found
