"""The server from which workers are forked."""

from __future__ import annotations

import subprocess
import sys

#: Torch as it is where there are cards, but for the call that starts CUDA's driver.
_A_CARD = """
import sys, torch
started = []
torch.cuda._is_compiled = lambda: True
torch.cuda._device_count_nvml = lambda: 1
torch._C._cuda_getDeviceCount = lambda: started.append(True) or 1
import bids_harmony.workflows.preloaded
from deepbet.utils import DEVICE
assert DEVICE.type == "cuda", "nobody asked for a card: the test is pointless"
assert "bids_harmony.methods.ihf" in sys.modules
sys.exit(len(started))
"""


def test_the_server_does_not_start_the_driver_of_cards():
    """Workers are forked from it, and CUDA cannot be started again in a fork."""
    done = subprocess.run([sys.executable, "-c", _A_CARD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


_KEEPS = """
import bids_harmony.resources as resources
called = []
resources.keep_freed_memory = lambda: called.append("keep")
resources.give_back_memory = lambda: called.append("give back")
import bids_harmony.workflows.preloaded
print(called)
"""


def test_workers_use_freed_memory_again():
    done = subprocess.run([sys.executable, "-c", _KEEPS], capture_output=True, text=True)
    assert done.stdout == "['keep', 'give back']\n", done.stderr
