"""What `benchmarks/mutants.py` found, as JSON and Markdown."""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from statsmodels.stats.proportion import proportion_confint

__all__ = ["ALLOWED", "survivor_of", "write_report"]

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = ROOT / "tests" / "mutants_allowed.toml"
RESULT = Path(__file__).resolve().parent / "results" / "mutants.json"
#: The part of mutants that tests shall catch.
AIM = 0.85


def survivor_of(folder: Path, name: str, file: str) -> dict[str, Any]:
    """Place of a mutant in the code as it is, and its lines before and after."""
    import libcst
    from mutmut.mutation.diff_apply import read_functions_from_index

    with contextlib.chdir(folder):
        functions = read_functions_from_index(name, file)
        source = Path(file).read_text(encoding="utf-8")
    if functions is None:
        raise SystemExit(f"{name}: not in {folder / 'mutants'}")
    before, after = (libcst.Module([one]).code.splitlines() for one in functions)
    return {"name": name, "file": file, **changed_lines(source, name, before, after)}


def changed_lines(
    source: str, name: str, before: Sequence[str], after: Sequence[str]
) -> dict[str, Any]:
    """First line of the file that differs, and the differing lines without their indentation.

    Parameters
    ----------
    source : str
        Of the whole file.
    name : str
        The tool's, such as ``package.module.x_function__mutmut_3`` or, of a method,
        ``package.module.xǁClassǁmethod__mutmut_3``.
    before, after : sequence of str
        The function's own lines, with comments above it.
    """
    word = name.rpartition(".")[2].partition("__mutmut_")[0]
    owner, function = re.fullmatch(r"x(?:ǁ(\w+)ǁ|_)(\w+)", word).groups()  # type: ignore[union-attr]
    body = ast.parse(source).body
    if owner:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == owner).body
    starts = [n.lineno for n in body if isinstance(n, ast.FunctionDef) and n.name == function]
    head = re.compile(rf"\s*(async\s+)?def\s+{function}\b")
    start = next(i for i, line in enumerate(before) if head.match(line))
    matcher = difflib.SequenceMatcher(None, list(before), list(after), autojunk=False)
    changes = [c for c in matcher.get_opcodes() if c[0] != "equal"]
    first, last = changes[0], changes[-1]
    return {
        "line": starts[-1] + first[1] - start,
        "before": [line.strip() for line in before[first[1] : last[2]]],
        "after": [line.strip() for line in after[first[3] : last[4]]],
    }


def reasons(allowed: Path = ALLOWED) -> dict[tuple[str, str, str], str]:
    """Why survivors may live, by file, line before and line after."""
    entries = tomllib.loads(allowed.read_text(encoding="utf-8")).get("mutant", ())
    return {(e["file"], e["before"], e["after"]): e["reason"] for e in entries}


def numbers_of(room: Mapping[str, Any]) -> dict[str, Any]:
    """Caught and survived, with the 95 % interval of the part that is caught (Wilson)."""
    count = room["outcomes"]
    survived = count.get("survived", 0) + count.get("no tests", 0)
    caught = sum(
        count.get(word, 0) for word in ("killed", "timeout", "segfault", "caught by type check")
    )
    tried = caught + survived
    excused = sum(bool(s["reason"]) for s in room["survivors"])
    low, high = proportion_confint(caught, tried, method="wilson") if tried else (0.0, 1.0)
    return {
        "tried": tried,
        "caught": caught,
        "survived": survived,
        "excused": excused,
        "undecided": sum(count.values()) - tried,
        "share": round(caught / tried, 4) if tried else None,
        "interval": [round(low, 4), round(high, 4)],
    }


def write_report(
    rooms: dict[str, dict[str, Any]], *, seed: int, n: str, result: Path = RESULT
) -> None:
    """Write the rooms that were tried now; those of earlier runs stay, with their commits."""
    from measure import provenance

    made = provenance(["mutmut", "pytest", "torch", "numpy"])
    known = reasons()
    for room in rooms.values():
        for s in room["survivors"]:
            key = s["file"], "\n".join(s["before"]), "\n".join(s["after"])
            s["reason"] = known.get(key, "")
        room |= numbers_of(room) | {k: made[k] for k in ("commit", "uncommitted_changes", "date")}
        room |= {"seed": seed, "asked": n}
    earlier = json.loads(result.read_text())["rooms"] if result.is_file() else {}
    all_rooms = earlier | rooms
    record = {"command": "benchmarks/mutants.py", **made, "rooms": all_rooms}
    result.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = markdown(record)
    result.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text.partition("\n## ")[0])


def markdown(record: Mapping[str, Any]) -> str:
    """A table of the rooms, then the survivors of each."""
    machine, versions = record["machine"], record["versions"]
    lines = [
        "# Mutants",
        "",
        "Made by `make mutants` ([benchmarks/mutants.py](../mutants.py), which says what is not "
        f"mutated) with mutmut {versions['mutmut']}, Python {versions['python']}, "
        f"{machine['processor']}, {machine['cores']} cores. Each room's mutants are tried with "
        "the room's own tests. Interval: 95 %, Wilson, for all mutants of the room. A mutant that "
        "no test reaches counts as a survivor, and so does one that has a reason "
        f"(tests/mutants_allowed.toml). Aim: {AIM:.0%}.",
        "",
        "| room | mutants | drawn, seed | tried | caught | survived | with a reason | undecided "
        "| caught % | 95 % interval | commit |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |",
    ]
    for name, room in sorted(record["rooms"].items()):
        share = "" if room["share"] is None else f"{room['share']:.1%}"
        low, high = room["interval"]
        mark = "+" if room["uncommitted_changes"] else ""
        lines.append(
            f"| {name} | {room['mutants']} | {room['asked']}, {room['seed']} | {room['tried']} "
            f"| {room['caught']} | {room['survived']} | {room['excused']} | {room['undecided']} "
            f"| {share} | {low:.1%} to {high:.1%} | {room['commit'][:7]}{mark} |"
        )
    for name, room in sorted(record["rooms"].items()):
        lines += ["", f"## {name}: survivors", ""]
        for s in sorted(room["survivors"], key=lambda s: (s["file"], s["line"], s["name"])):
            lines += [f"`{s['file']}:{s['line']}`" + (f" {s['reason']}" if s["reason"] else "")]
            lines += ["", "```diff", *(f"- {x}" for x in s["before"])]
            lines += [*(f"+ {x}" for x in s["after"]), "```", ""]
    return "\n".join(lines).rstrip() + "\n"
