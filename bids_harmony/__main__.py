"""`python -m bids_harmony`."""

import sys

from bids_harmony.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
