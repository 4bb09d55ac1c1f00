"""What one of many jobs does to the files that all of them share; run by `test_many_jobs`."""

from __future__ import annotations

import gzip
from pathlib import Path

from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.derivative import merge_table, write_json, write_scans_rows
from bids_harmony.bids.run_log import finish_run, start_run
from bids_harmony.settings import Settings

ROUNDS = 3


def target_of(number: int) -> str:
    return f"SITE{number:02d}"


def work(number: int, bids_dir: Path, output_dir: Path, start) -> None:
    """Dataset files with a row of our own, tables, an image, and the log of a run, several times.

    `start` is a barrier: all jobs begin at the same moment.
    """
    settings = Settings(
        bids_dir, output_dir, "participant", target_site=target_of(number), nprocs=1
    )
    anat = output_dir / f"sub-{number:02d}" / "anat"
    image = anat / f"sub-{number:02d}_desc-harmonized{target_of(number)}_T1w.nii.gz"
    voxels = gzip.decompress((bids_dir / "sub-01/anat/sub-01_T1w.nii.gz").read_bytes())
    start.wait()
    for turn in range(ROUNDS):
        run_log = start_run(settings, command=f"job {number}")
        write_dataset_files(settings, targets={f"turn{number}x{turn}": "Written by a test"})
        anat.mkdir(parents=True, exist_ok=True)
        image.write_bytes(gzip.compress(voxels, mtime=0))
        write_json(
            image.with_name(image.name.replace(".nii.gz", ".json")), {"SkullStripped": False}
        )
        rows = {image: {"psnr_db": float(number)}}
        write_scans_rows(
            output_dir, f"{number:02d}", None, rows, {"psnr_db": {"Description": "A number"}}
        )
        # Jobs that divide one person by modality meet in one table.
        merge_table(
            output_dir / "logs" / "met.tsv",
            [{"id": f"{number:02d}x{turn}", "n": number}],
            key="id",
        )
        finish_run(run_log, 0)
