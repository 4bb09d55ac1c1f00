"""Does this installation work? A simulated scan through the whole program, held against the truth.

    python -m bids_harmony.cli.selftest FOLDER
    python -m bids_harmony.cli.selftest --dataset-only FOLDER

Simulates a few people at two sites, harmonizes the scan that one of them had at one site to the
other with the model in the package, and compares it with the noise-free image that the other site
would have seen. Coarse, so that it takes a minute: it shows that the program runs, not how well.

With ``--dataset-only`` it stops at a small dataset to try options on, in ``FOLDER/bids``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import BidsHarmonyError, CannotCreateOutput, ExitCode

__all__ = ["main"]

_TARGET, _SOURCE, _TRAVELLER = "COI", "SIEMENS", "T01"
_VOXEL_MM = 4.0
#: Of each site: fewer support no stretch of contrast.
_PEOPLE = 5
_PLAN: Mapping[str, Any] = {
    "sites": (_TARGET, _SOURCE), "training_per_site": _PEOPLE, "travelling": 1,
    "modalities": ("T1w",),
}  # fmt: skip
_TO_TRY: Mapping[str, Any] = {
    "sites": (_TARGET, _SOURCE, "GE"), "training_per_site": 3, "travelling": 1,
    "modalities": ("T1w", "T2w"),
}  # fmt: skip
_WORDS = """Made {bids}, of voxels of 4 mm. What a run would do, a run that takes a minute or
two, and one in which the two sessions of sub-T01 share a space:
  bids_harmony {bids} out participant --target-site COI --dry-run
  bids_harmony {bids} out participant --target-site COI --modalities T1w --sloppy
  bids_harmony {bids} out participant --target-site COI --sloppy --participant-label T01 \\
    --longitudinal"""
_LARGEST_SHARE = 0.8
"""Of the distance to the true image, what may be left. Seen: 0.65."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the self-test; returns the program's exit code, or 1 when the result is not right.

    Parameters
    ----------
    argv : sequence of str, optional
        The folder, new or empty; default `sys.argv`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bids_harmony.cli.selftest", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "folder", type=Path, help="new or empty; bids, twins, work and out are made in it"
    )
    parser.add_argument(
        "--dataset-only",
        action="store_true",
        help="write a small dataset to try options on, and stop: three sites, T1w and T2w, and a "
        "person who was at two of them in two sessions",
    )
    options = parser.parse_args(argv)
    folder: Path = options.folder.absolute()
    start = time.monotonic()
    try:
        if options.dataset_only:
            simulate(folder, _TO_TRY)
            print(_WORDS.format(bids=shlex.quote(str(folder / "bids"))))
            return ExitCode.DONE
        simulate(folder)
        code = harmonize(folder)
        if code != ExitCode.DONE:
            print(f"self-test: FAILED, the program ended with exit code {code}", file=sys.stderr)
            return code
        before, after = _distances(folder)
    except (BidsHarmonyError, OSError) as error:
        print(f"self-test: FAILED, {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, BidsHarmonyError) else ExitCode.INPUT_OUTPUT
    passed = after < _LARGEST_SHARE * before
    print(
        f"self-test: {'passed' if passed else 'FAILED'} in {time.monotonic() - start:.0f} s; "
        f"distance to the true image {before:.4f} before and {after:.4f} after harmonization "
        f"(RMSE inside the brain); images in {folder}"
    )
    return ExitCode.DONE if passed else ExitCode.UNSPECIFIED


def simulate(folder: Path, plan: Mapping[str, Any] = _PLAN) -> None:
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    if folder.exists() and any(folder.iterdir()):
        raise CannotCreateOutput(
            "The folder is not empty",
            where=str(folder),
            hint="Name a new one: nothing is removed.",
        )
    write_cohort(folder, CohortPlan(target=_TARGET, voxel_scale=_VOXEL_MM, **plan))


def harmonize(folder: Path) -> int:
    from bids_harmony.cli.main import main as bids_harmony

    return bids_harmony(
        [
            str(folder / "bids"), str(folder / "out"), "participant", "-w", str(folder / "work"),
            "--participant-label", _TRAVELLER, "--target-site", _TARGET, "--sloppy",
            "--nprocs", "1", "--bank-scans", str(_PEOPLE),
        ]
    )  # fmt: skip


def _distances(folder: Path) -> tuple[float, float]:
    """Of the raw and of the harmonized scan to the true image; intensities from 0 to 1."""
    from bids_harmony.imaging.volume import read_volume
    from bids_harmony.quality.travelling import score_against_twin

    where = Path(f"sub-{_TRAVELLER}", f"ses-{_SOURCE}", "anat")
    stem = f"sub-{_TRAVELLER}_ses-{_SOURCE}"
    raw = read_volume(folder / "bids" / where / f"{stem}_T1w.nii.gz").data
    ours = read_volume(folder / "out" / where / f"{stem}_desc-harmonized{_TARGET}_T1w.nii.gz").data
    twin = read_volume(folder / "twins" / where / f"{stem}_desc-twin_T1w.nii.gz").data
    brain = raw > 0
    before, after = (score_against_twin(image, twin, brain)["rmse"] for image in (raw, ours))
    return before, after


if __name__ == "__main__":
    sys.exit(main())
