#!/usr/bin/env bash
# A good guess: `hasattr(workflow.inputs.inputnode, "t1w")` is how to find out, while a Nipype graph is built, whether a part of it
# takes an input; it says True or False and does nothing else.
# What happens: for an input that is not there it says False, and the log gets "Exception occurred in traits notification handler"
# with a traceback (AttributeError: 'NoneType' object has no attribute 'set_input'). The graph is sound and runs.
# Why: `workflow.inputs` is built of traits with a listener for any change; asking for an unknown name makes traits announce a new
# one, the listener looks for the node behind it, and there is none. hasattr then takes the AttributeError for its answer.
# Who is hurt: whoever joins workflows that have some inputs only at times, and the user who reads the log of a run that is well.
# A test sees nothing of it but in the log. The inputs of a single node can be asked that way in silence.
# Version and source: nipype 1.11.0, pipeline/engine/workflows.py (Workflow._get_inputs, Workflow._set_input), traits 7.3.0.
# The cure is to ask `workflow.get_node("inputnode").inputs.copyable_trait_names()`.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install -q nipype==1.11.0 traits==7.3.0
NO_ET=1 venv/bin/python - <<'PYTHON'
import logging
import sys
from importlib.metadata import version

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline import engine as pe

print("nipype", version("nipype"), "traits", version("traits"))
told = []


class Keep(logging.Handler):
    def emit(self, record):
        told.append(self.format(record))


logging.getLogger("traits").addHandler(Keep())
workflow = pe.Workflow("anatomy")
node = pe.Node(IdentityInterface(fields=["t1w"]), name="inputnode")
workflow.add_nodes([node])
print("of the node:", hasattr(node.inputs, "t2w"), "- lines in the log:", len(told))
silent = not told
inputs = workflow.inputs.inputnode
print("of the workflow, an input that is there:", hasattr(inputs, "t1w"), "- lines in the log:", len(told))
silent = silent and not told
print("of the workflow, one that is not:", hasattr(inputs, "t2w"), "- lines in the log:", len(told))
if not silent or not told or "Traceback" not in told[0] or "set_input" not in told[0]:
    sys.exit("This has changed.")
print(told[0].strip().splitlines()[-1])
print("Asking was answered, and left a traceback in the log.")
PYTHON
