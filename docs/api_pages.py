"""Pages of the rooms of the package, listed from the disk: no page names a module by hand."""

from __future__ import annotations

import ast
import pkgutil
import shutil
from pathlib import Path

PACKAGE = "bids_harmony"
ROOT = Path(__file__).resolve().parents[1]
#: Rooms that lie beside the package in the repository and inside it when installed.
BESIDE = ("workflows",)


def rooms() -> dict[str, list[tuple[str, Path]]]:
    """Modules of each room by its dotted name, with their files; the package itself is one."""
    found: dict[str, list[tuple[str, Path]]] = {PACKAGE: []}
    folders = [(PACKAGE, ROOT / PACKAGE), *((f"{PACKAGE}.{n}", ROOT / n) for n in BESIDE)]
    while folders:
        room, folder = folders.pop(0)
        found.setdefault(room, [])
        for module in pkgutil.iter_modules([str(folder)]):
            name, path = f"{room}.{module.name}", folder / module.name
            if module.ispkg:
                folders.append((name, path))
            elif not module.name.startswith("_"):
                found[room].append((name, path.with_suffix(".py")))
    return {room: sorted(found[room]) for room in sorted(found)}


def first_line(path: Path) -> str:
    """What the docstring of a file says first."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def room_file(room: str) -> Path:
    """The file that holds a room's docstring."""
    inside = room.split(".")[1:]
    start = ROOT if inside and inside[0] in BESIDE else ROOT / PACKAGE
    return start.joinpath(*inside, "__init__.py")


def write(folder: Path) -> None:
    """Write a page for each room and one that lists them all; what was there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = []
    for room, modules in rooms().items():
        title = room.removeprefix(f"{PACKAGE}.")
        lines = [title, "=" * len(title), "", first_line(room_file(room)), ""]
        for name, _ in modules:
            short = name.removeprefix(f"{PACKAGE}.")
            lines += [short, "-" * len(short), "", f".. automodule:: {name}", "   :members:", ""]
        (folder / f"{room}.rst").write_text("\n".join(lines), encoding="utf-8")
        entries.append(f":doc:`{title} <{room}>`\n   {first_line(room_file(room))}\n")
    toctree = [".. toctree::", "   :hidden:", "", *(f"   {room}" for room in rooms())]
    listed = ["Inside the program", "==================", "", *entries, "", *toctree, ""]
    (folder / "index.rst").write_text("\n".join(listed), encoding="utf-8")
