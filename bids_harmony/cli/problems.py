"""What could not be used and what failed: told once, recorded, and made one exit code."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bids_harmony.bids.dataset import Problem, ScanSelection
from bids_harmony.bids.derivative import write_json
from bids_harmony.bids.inventory import read_json_object
from bids_harmony.exceptions import ExitCode, NotFetched

__all__ = ["record_problems", "report_end", "report_plan", "told_once", "worst_code"]

logger = logging.getLogger(__name__)

_STATUS = "status.json"


def told_once(problems: Iterable[Problem]) -> list[tuple[list[str], str]]:
    """Each reason with all that it keeps from use.

    Parameters
    ----------
    problems : iterable of Problem

    Returns
    -------
    list of (labels, reason)
        Reasons that differ in nothing but the name of the scan are one.
    """
    same: dict[str, list[Problem]] = {}
    for problem in problems:
        same.setdefault(_without_name(problem), []).append(problem)
    return [
        ([p.label for p in own], str(own[0].error) if len(own) == 1 else text)
        for text, own in same.items()
    ]


def _without_name(problem: Problem) -> str:
    error = problem.error
    if problem.label not in error.where:
        return str(error)
    return str(type(error)(error.what, expected=error.expected, got=error.got, hint=error.hint))


def record_problems(log_dir: Path | None, problems: Iterable[Problem]) -> None:
    """Add what was left out to the scans in the run's ``status.json``.

    Parameters
    ----------
    log_dir : Path or None
        ``logs/<run>``; None writes nothing.
    problems : iterable of Problem
    """
    left_out = {
        problem.label: {
            "state": "failed",
            "error": type(problem.error).__name__,
            "message": str(problem.error),
            "exit_code": int(problem.error.exit_code),
        }
        for problem in problems
    }
    if log_dir is None or not left_out:
        return
    record, scans = _recorded(log_dir)
    write_json(log_dir / _STATUS, record | {"scans": scans | left_out})


def _recorded(log_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run's record, and its scans."""
    path = log_dir / _STATUS
    record = read_json_object(path) if path.is_file() else {}
    scans = record.get("scans", {})
    return record, scans if isinstance(scans, dict) else {}


def report_end(log_dir: Path | None, *, done: str) -> None:
    """Say how many scans came through, which did not and why, where more is told, what to do.

    Parameters
    ----------
    log_dir : Path or None
        ``logs/<run>``, whose ``status.json`` has the scans; None says nothing.
    done : str
        What became of scans that came through: "harmonized".
    """
    if log_dir is None:
        return
    _, scans = _recorded(log_dir)
    if not scans:
        return
    failed = {label: own for label, own in scans.items() if own["state"] == "failed"}
    # What --on-ood skip leaves out has an error, what an earlier run finished has none.
    left = [label for label, own in scans.items() if own["state"] == "skipped" and "error" in own]
    before = sum(own["state"] == "skipped" and "error" not in own for own in scans.values())
    good = len(scans) - len(failed) - len(left)
    text = f"{good} of {_counted(len(scans))} {done}"
    text += f" ({before} by an earlier run)" if before else ""
    text += f"; left out by --on-ood skip: {', '.join(left)}" if left else ""
    if not failed:
        logger.info("%s", text)
        return
    logger.error("%s; %d failed: %s", text, len(failed), "; ".join(_kinds(failed)))
    again = "Run the same command again: what is finished is not made again."
    if {own["exit_code"] for own in failed.values()} != {int(ExitCode.TRY_AGAIN)}:
        again = (
            "Mend these scans, or leave them out with --participant-label or --bids-filter-file. "
            + again
        )
    crashes = any(log_dir.glob("crash-*"))
    logger.error(
        "Why each of them failed stands above and in %s%s. %s",
        log_dir / _STATUS,
        ", its crash file beside it" if crashes else "",
        again,
    )


def report_plan(selection: ScanSelection, *, done: str) -> None:
    """Say at the end of a plan how many scans cannot be used, and of what kinds the reasons are.

    Parameters
    ----------
    selection : ScanSelection
        What is left, and its problems; nothing is said where there are none.
    done : str
        What cannot be done to them: "harmonized".
    """
    problems = selection.problems
    if not problems:
        return
    failed = {p.label: {"exit_code": int(p.error.exit_code)} for p in problems}
    logger.error(
        "%d of %s cannot be %s: %s", len(failed),
        _counted(len(failed) + len(selection.scans)), done, "; ".join(_kinds(failed)),
    )  # fmt: skip


def _kinds(failed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of each exit code what it means, and the scans."""
    codes = Counter(own["exit_code"] for own in failed.values())
    return [
        f"{ExitCode(code).meaning} (code {code}): "
        + ", ".join(label for label, own in failed.items() if own["exit_code"] == code)
        for code in sorted(codes)
    ]


def _counted(number: int) -> str:
    return f"{number} scan" + ("" if number == 1 else "s")


def worst_code(code: ExitCode, problems: Iterable[Problem]) -> ExitCode:
    """One exit code for a run: that of its failures when they agree, else "unspecified".

    Where content was not fetched this comes first: until it is, nothing else can be judged.
    """
    problems = list(problems)
    if any(isinstance(problem.error, NotFetched) for problem in problems):
        return ExitCode.MISSING_INPUT
    codes = {problem.error.exit_code for problem in problems} | (
        {code} if code != ExitCode.DONE else set()
    )
    if not codes:
        return ExitCode.DONE
    return codes.pop() if len(codes) == 1 else ExitCode.UNSPECIFIED
