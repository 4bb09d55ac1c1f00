#!/usr/bin/env bash
# A good guess: importing a library that fits NODDI changes nothing for the loggers of other libraries; `logger.error` logs a line and
# the program goes on.
# What happens: `import amico` (dmri-amico 2.1.1) imports dicelib.ui (dmri-dicelib 1.3.0), which calls logging.setLoggerClass at its
# import and does not take it back. Every logger that anybody makes later in the process has its `error`, and so `exception`:
# error(msg, stacklevel=2, *args) ends the process with SystemExit(1) and takes the first argument for the stack level. A message
# with a text argument raises TypeError; one with a number is shown with its "%d" and the number is lost.
# Who is hurt: pipelines of several steps in one process. A library that is imported after AMICO (asyncio's logger among them) and
# only reports an error ends the run, past every `except Exception`; where the logger existed before, all is well, so it depends on
# the order of imports.
# Version and source: dmri-dicelib 1.3.0, dicelib/ui.py (class Logger; setup_logger calls setLoggerClass, and
# `logger = setup_logger('ui')` runs at import); dmri-amico 2.1.1, amico/core.py (`from dicelib.ui import ProgressBar`). The cure is to keep
# logging.getLoggerClass() and set it again after the import.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install -q dmri-amico==2.1.1 dmri-dicelib==1.3.0
venv/bin/python - <<'PYTHON'
import io
import logging
import sys
from importlib.metadata import version

log = io.StringIO()
logging.basicConfig(stream=log, format="%(message)s")
early = logging.getLogger("made.before")

import amico  # noqa: E402

late = logging.getLogger("made.after")
print("dmri-amico", version("dmri-amico"), "dmri-dicelib", version("dmri-dicelib"))
print("logger class:", logging.getLoggerClass())
seen = {}
for logger in (early, late):
    for message in (("it failed",), ("failed after %d tries", 3), ("%s failed", "sub-01")):
        log.seek(0), log.truncate()
        try:
            logger.error(*message)
            end = "went on"
        except (TypeError, SystemExit) as error:
            end = type(error).__name__
        seen[logger.name, message[0]] = (end, log.getvalue().strip())
        print(f"{logger.name}: error{message}: {end}, logged {log.getvalue().strip()!r}")
expected = {
    ("made.before", "it failed"): ("went on", "it failed"),
    ("made.before", "failed after %d tries"): ("went on", "failed after 3 tries"),
    ("made.before", "%s failed"): ("went on", "sub-01 failed"),
    ("made.after", "it failed"): ("SystemExit", "it failed"),
    ("made.after", "failed after %d tries"): ("SystemExit", "failed after %d tries"),
    ("made.after", "%s failed"): ("TypeError", ""),
}
if seen != expected:
    sys.exit("This has changed.")
print("After `import amico`, a new logger's error() ends the process.")
PYTHON
