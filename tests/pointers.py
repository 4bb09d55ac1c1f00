"""What stands under a name in a clone whose content was not fetched."""

from __future__ import annotations

from pathlib import Path

KEY = "SHA256E-s59--2830824be211.tsv"
KINDS = ("locked", "unlocked", "lfs", "no links")
COMMAND = {kind: "git lfs pull" if kind == "lfs" else "datalad get" for kind in KINDS}


def not_fetched(path: Path, kind: str) -> Path:
    """Put a stand-in in a file's place; "no links": a locked one where there are no links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "locked":
        path.symlink_to(f"../../.git/annex/objects/3g/KP/{KEY}/{KEY}")
    elif kind == "unlocked":
        path.write_text(f"/annex/objects/{KEY}\n")
    elif kind == "no links":
        path.write_text(f"../../.git/annex/objects/3g/KP/{KEY}/{KEY}")
    else:
        path.write_text(
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 532261\n"
        )
    return path
