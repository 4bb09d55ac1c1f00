"""The process that plans and hands out steps loads no library of those that compute."""

from __future__ import annotations

import subprocess
import sys

#: As a job with workers does, to the point at which it hands out its first step.
_A_JOB = """
import sys
from pathlib import Path
from bids_harmony.cli import participant
from bids_harmony.settings import Settings
from bids_harmony.workflows import base, image_profiles, models, plugin, reports, scan_models
data, out = map(Path, sys.argv[1:])
settings = Settings(data, out, "participant", target_site="A", modalities=("T1w",), device="cpu")
model, method = models.load_model(settings)
known = image_profiles.ImageProfiles(settings, method)
print(len(known.missing(participant.find_scans(settings).scans)), model.device, len(model.sha256))
heavy = ("torch", "ants", "deepbet", "sklearn", "statsmodels", "matplotlib", "scipy.stats")
print(*(name for name in heavy if name in sys.modules))
"""


def test_a_job_comes_to_its_first_step_without_torch(cohort, tmp_path):
    """Workers have all that from their server; here it would be loaded a second time."""
    words = [sys.executable, "-c", _A_JOB, str(cohort), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout == "2 cpu 64\n\n", done.stderr
