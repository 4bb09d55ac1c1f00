"""For `benchmarks/mutants.py`: which tests reach a function, also by what they share.

mutmut sees what is called while a test runs. What a fixture of a module or session calls would
count for the first test that wants it, and what a cache remembers for the first that asks. Here
the calls of a shared fixture count for every test that uses it, with the time that it takes, and
caches are emptied before each test.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from typing import Any

import pytest
from mutmut.mutation.trampoline import get_mutant_under_test
from mutmut.state import state

_CALLS: dict[int, set[str]] = {}
_SECONDS: dict[int, float] = {}


def _looks() -> bool:
    return get_mutant_under_test() == "stats"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
    if not _looks() or fixturedef.scope == "function":
        return (yield)
    calls = state()._stats
    before, start = set(calls), time.perf_counter()
    calls.clear()
    try:
        return (yield)
    finally:
        _CALLS[id(fixturedef)] = set(calls)
        _SECONDS[id(fixturedef)] = time.perf_counter() - start
        calls |= before


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    if not _looks():
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "bids_harmony":
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, Any, Any]:
    if _looks():
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                state()._stats |= _CALLS.get(id(definition), set())
                state().duration_by_test[item.nodeid] += _SECONDS.get(id(definition), 0.0)
    return (yield)
