#!/usr/bin/env bash
# Expected: FORCEModel.generate makes the simulations that it is asked for; with use_cache=False it leaves the cache alone; after
# numpy.random.seed(1) two runs agree, and numpy's generator is still the caller's.
# Instead: DIPY 1.12.1 (dipy/reconst/force.py, _find_cached_simulation) looks for a cached library by gradients, diffusivities and
# number alone: one made with another odi_range, tortuosity or wm_threshold is taken without a word, in the same process or
# months later. use_cache=False still writes and registers its own, which later calls then find. And init_worker
# (dipy/sims/force.py) seeds numpy's global generator by process and clock, also in the caller's process (num_cpus=1): no two
# libraries agree, a seed set before is lost, and what the caller draws afterwards changes from run to run.
# Hurt: whoever compares settings of FORCE (they come out the same), and whoever repeats an analysis from a seed.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "dipy==1.12.1" "numpy==2.3.5"
export DIPY_HOME="$work/dipy"
"$work/venv/bin/python" - <<'PY'
import os
import sys
from pathlib import Path

import dipy
import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.force import FORCEModel
from dipy.sims.force import generate_force_simulations

rng = np.random.default_rng(0)
directions = rng.standard_normal((40, 3))
directions /= np.linalg.norm(directions, axis=1, keepdims=True)
table = gradient_table(np.r_[0.0, np.full(20, 1000.0), np.full(20, 2000.0)], bvecs=np.r_[np.zeros((1, 3)), directions])


kept = lambda: len(list((Path(os.environ["DIPY_HOME"]) / "force_simulations").glob("*.npz")))
narrow = FORCEModel(table).generate(num_simulations=200, compute_dti=False, use_cache=False).simulations
files = kept()
wide = FORCEModel(table).generate(
    num_simulations=200, compute_dti=False, odi_range=(0.8, 0.9), tortuosity=True
).simulations
same = bool(np.array_equal(narrow["signals"], wide["signals"]))
drawn, after = [], []
for _ in range(2):
    np.random.seed(1)
    drawn.append(generate_force_simulations(table, num_simulations=50, compute_dti=False, verbose=False)["nd"])
    after.append(np.random.random())
print("DIPY", dipy.__version__)
print("files in the cache after use_cache=False:", files)
print("odi_range 0.8 to 0.9 with tortuosity gives the signals of 0.01 to 0.3 without:", same)
print("two libraries from one seed agree:", bool(np.array_equal(*drawn)), "; the next number of numpy:", after)
sys.exit(not (files == 1 and same and not np.array_equal(*drawn) and after[0] != after[1]))
PY
