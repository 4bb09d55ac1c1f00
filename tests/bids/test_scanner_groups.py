"""Scanners told apart over a whole dataset, whatever is missing and whatever the order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from bids_harmony.bids.census import Image
from bids_harmony.bids.scanner_groups import Observation, group_scanners
from bids_harmony.bids.scanner_profile import Profile, software_major
from bids_harmony.bids.site import resolve_sites
from bids_harmony.bids.site_tables import SiteTables

FIELDS = (
    "DeviceSerialNumber", "StationName", "InstitutionName", "Manufacturer",
    "ManufacturersModelName", "MagneticFieldStrength", "SoftwareVersions",
)  # fmt: skip
MACHINES = [
    dict(zip(FIELDS, words, strict=True))
    for words in (
        ("67060", "AWP67060", "Hospital A", "SIEMENS", "Prisma_fit", 3, "syngo MR E11"),
        ("858355GEM", "GEMR1", "Hospital A", "GE MEDICAL SYSTEMS", "SIGNA Premier", 3, "RX27.0"),
        ("12345", "GEMR2", "Hospital B", "GE MEDICAL SYSTEMS", "Signa HDxt", 1.5, "15.0_M4"),
        ("41231", "PHILIPS-41231", "Hospital C", "Philips", "Ingenia", 3, "5.3.1"),
    )
]


def groups_of(*observations):
    """Positions of each group, sorted."""
    return sorted(sorted(group.members) for group in group_scanners(observations))


def see(stated=None, visit=None, **words):
    return Observation(Profile(**words), stated, visit)


def sites_of(sidecars):
    images = {f"{n:03d}.nii.gz": Image(f"x{n}", None, s) for n, s in enumerate(sidecars)}
    found = resolve_sites(images, SiteTables()).scans
    return [found[name].site if name in found else None for name in images]


@st.composite
def thinned(draw):
    """Scans of several machines, each without some of its fields; one of each is whole."""
    machines = draw(st.lists(st.sampled_from(range(4)), min_size=1, max_size=4, unique=True))
    scans = [(m, MACHINES[m]) for m in machines]
    for m in machines:
        for kept in draw(st.lists(st.sets(st.sampled_from(FIELDS)), max_size=4)):
            scans.append((m, {name: MACHINES[m][name] for name in kept}))
    return scans


@given(thinned())
@settings(max_examples=300, deadline=None)
def test_missing_fields_do_not_make_a_scanner(scans):
    sites = sites_of([sidecar for _, sidecar in scans])
    for machine in {m for m, _ in scans}:
        own = {
            site
            for (m, sidecar), site in zip(scans, sites, strict=True)
            # A serial number, a station or a model is of one machine here.
            if m == machine
            and {"DeviceSerialNumber", "StationName", "ManufacturersModelName"} & set(sidecar)
        }
        assert len(own) == 1 and None not in own
    # Nobody is counted to a machine that its sidecar contradicts.
    whole = {m: site for (m, s), site in zip(scans, sites, strict=True) if len(s) == len(FIELDS)}
    for (machine, _), site in zip(scans, sites, strict=True):
        assert site == whole[machine] or site not in whole.values()


@given(st.sets(st.sampled_from(FIELDS)), st.sets(st.sampled_from(FIELDS)))
@settings(max_examples=200, deadline=None)
def test_one_scanner_is_one_site_whatever_is_left_of_either_scan(one, other):
    kept = [{name: MACHINES[0][name] for name in {*names, FIELDS[0]}} for names in (one, other)]
    assert len(set(sites_of(kept))) == 1


@given(thinned(), st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_order_of_files_does_not_matter(scans, rng: random.Random):
    sidecars = [sidecar for _, sidecar in scans]
    order = list(range(len(sidecars)))
    rng.shuffle(order)
    shuffled = sites_of([sidecars[n] for n in order])
    assert [shuffled[order.index(n)] for n in range(len(order))] == sites_of(sidecars)


def test_serial_before_station_before_kind():
    assert groups_of(see(serial="1", station="S"), see(serial="2", station="S")) == [[0], [1]]
    assert groups_of(see(station="S", vendor="GE"), see(station="T", vendor="GE")) == [[0], [1]]
    assert groups_of(see(serial="1", station="S"), see(station="S")) == [[0, 1]]
    assert groups_of(see(vendor="GE", model="A"), see(vendor="GE", model="B")) == [[0], [1]]


def test_one_serial_number_of_two_machines():
    """Short serial numbers repeat between vendors; a magnet has one field."""
    assert groups_of(see(serial="1", vendor="GE"), see(serial="1", vendor="Philips")) == [[0], [1]]
    both = see(serial="1", field_strength=3.0), see(serial="1", field_strength=1.5)
    assert groups_of(*both) == [[0], [1]]
    # A model's name is written in many ways.
    assert groups_of(see(serial="1", model="Trio"), see(serial="1", model="TrioTim")) == [[0, 1]]


def test_serial_numbers_as_converters_write_them():
    written = ["0067060", 67060, 67060.0, " 67060 "], ["858355gem", "858355GEM"]
    for several in written:
        sidecars = [{"DeviceSerialNumber": serial} for serial in several]
        assert len(set(sites_of(sidecars))) == 1


def test_stations_of_two_institutions_are_two():
    scans = [see(station="MR1", institution=name) for name in "AB"]
    assert groups_of(*scans) == [[0], [1]]


def test_the_visit_decides_where_several_fit():
    one, two = see(serial="1", institution="A"), see(serial="2", institution="A", visit="x")
    bare = see(institution="A", visit="x")
    assert groups_of(one, two, bare) == [[0], [1, 2]]
    assert groups_of(one, two, see(institution="A", visit="y")) == [[0], [1], [2]]


def test_scans_that_share_nothing_are_apart():
    assert groups_of(see(institution="A", field_strength=3.0), see(vendor="GE")) == [[0], [1]]
    assert groups_of(see(), see()) == []


def test_one_stated_site_of_two_spellings_of_an_institution():
    scans = [see("A", institution=name, vendor="GE") for name in ("Kyoto Univ", "Kyoto")]
    assert groups_of(*scans) == [[0, 1]]
    assert groups_of(*(see(s.profile.institution, vendor="GE") for s in scans)) == [[0], [1]]


def test_software_major():
    told = ["syngo MR E11", "syngo_MR_B17", "syngo MR VE11C", "syngo MR XA30", "5.3.1\\5.3.1.0",
            "27\\LX\\MR Software release:RX27.0_R04", "V6.0SP2000*", "R002", ["a", "4.2"],
            None, "n/a", 5.1]  # fmt: skip
    assert [software_major(text) for text in told] == [
        "E11", "B17", "E11", "XA30", "5", "27", "6", "002", "4", None, None, "5",
    ]  # fmt: skip
