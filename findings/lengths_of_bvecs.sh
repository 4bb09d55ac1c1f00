#!/usr/bin/env bash
# Expected: a b-vector is a direction; a program that accepts vectors of length 0.992 makes them unit, as FSL's dtifit does,
# and diffusivities do not depend on the length.
# Instead: DIPY 1.12.1 (dipy.core.gradients.gradient_table, atol=1e-2) accepts lengths up to 1 % off and leaves them as they
# are; the tensor's design matrix multiplies b by the square of the length. At 0.992 MD is 1.6 % higher than with the same
# directions made unit, without a word; at 0.98 the table is refused. (MRtrix3 scales b by the square of the length, too, with
# its -bvalue_scaling; FSL does not.)
# Hurt: whoever compares MD between pipelines, or between scanners whose tables were written with different numbers of digits.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "dipy==1.12.1"
"$work/venv/bin/python" - <<'PY'
import sys

import dipy
import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

rng = np.random.default_rng(0)
u = rng.normal(size=(30, 3))
u /= np.linalg.norm(u, axis=1, keepdims=True)
bvals = np.r_[0, np.full(30, 1000.0)]
signal = 1000 * np.exp(-bvals * np.r_[0, (u**2) @ [1.7e-3, 3e-4, 3e-4]])
md = {}
for length in (1.0, 0.992, 0.98):
    try:
        table = gradient_table(bvals, bvecs=np.vstack([np.zeros(3), length * u]))
        md[length] = float(TensorModel(table).fit(signal[None]).md[0])
    except ValueError as error:
        md[length] = None
        print("length", length, "refused:", error)
ratio = md[0.992] / md[1.0]
print("DIPY", dipy.__version__, "MD by length:", md, "ratio at 0.992:", round(ratio, 4), "1 / 0.992^2:", round(0.992**-2, 4))
sys.exit(not (abs(ratio - 0.992**-2) < 1e-3 and md[0.98] is None))
PY
