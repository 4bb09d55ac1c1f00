"""The committed scripts of ``examples/slurm``, from what ``--write-slurm`` writes today.

python -m lab.slurm_example
"""

from __future__ import annotations

import sys
from pathlib import Path

from bids_harmony.cli.slurm import Chain, Unit, cluster_settings, render
from bids_harmony.settings import Settings
from bids_harmony.workflows.estimate import Resources

__all__ = ["EXAMPLE", "example", "main"]

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "slurm"


def example() -> Chain:
    """The chain behind the scripts: three people of two sessions."""
    settings = Settings(
        Path("/data/study/bids"), Path("/data/study/derivatives/bids_harmony"), "train",
        target_site="COI", work_dir=Path("/scratch/bids_harmony"), nprocs=1, memory_mb=1024,
    )  # fmt: skip
    units = tuple(
        Unit(f"{n:02d}", session) for n in (1, 2, 3) for session in ("baseline", "followup")
    )
    return Chain(
        folder=Path("/data/study/code/slurm"),
        bids_dir=settings.bids_dir,
        output_dir=settings.output_dir,
        work=settings.work_dir,
        units=units,
        participant=Resources(2, 7168, 30),
        group=Resources(2, 7168, 30),
        train=Resources(8, 26624, 240),
        gpus=0,
        python="python3",
        settings=cluster_settings(settings, {}),
    )


def main() -> int:
    """Write all scripts."""
    for name, text in render(example()).items():
        (EXAMPLE / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
