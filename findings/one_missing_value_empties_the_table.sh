#!/usr/bin/env bash
# A good guess: one missing value (NaN) in a table of regional measures costs ComBat that value, or that scan, or at most that measure.
# What happens: neuroCombat 0.2.12 returns a table in which every value of every measure and every scan is NaN. Nothing is raised;
# "[neuroCombat]" lines tell of success. The least squares of all measures are one product, and the prior of each site is a mean
# over all measures, so one NaN reaches all of them.
# Who is hurt: whoever harmonizes FreeSurfer or diffusion tables, in which a region that failed is left empty (n/a in BIDS, NaN in
# pandas), and saves the result: the measures are lost, not one of them. Models that drop rows with NaN then drop everybody.
# Version and source: neuroCombat 0.2.12, neuroCombat.py (neuroCombat, find_parametric_adjustments, aprior and bprior by np.mean).
# The cure is to leave incomplete scans or measures out before, or a ComBat that fits each measure to the scans that have it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install -q neuroCombat==0.2.12 numpy==1.26.4 pandas==2.2.3
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from neuroCombat import neuroCombat

print("neuroCombat", version("neuroCombat"), "numpy", np.__version__)
rng = np.random.default_rng(0)
sites = pd.DataFrame({"site": np.repeat(["A", "B"], 15)})
table = rng.normal(size=(20, 30)) + 2 * (sites["site"] == "B").to_numpy()  # 20 measures of 30 scans
whole = neuroCombat(dat=table, covars=sites, batch_col="site")["data"]
print("complete table: values that are NaN after ComBat:", int(np.isnan(whole).sum()), "of", whole.size)
table[3, 7] = np.nan
try:
    after = neuroCombat(dat=table, covars=sites, batch_col="site")["data"]
except Exception as error:
    sys.exit(f"This has changed: {type(error).__name__}: {error}")
lost = int(np.isnan(after).sum())
print("one value missing: values that are NaN after ComBat:", lost, "of", after.size)
if np.isnan(whole).any() or lost != after.size:
    sys.exit("This has changed.")
print("One missing value emptied the whole table, without an error.")
PYTHON
