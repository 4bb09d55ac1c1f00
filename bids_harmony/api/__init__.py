"""The package in Python: images in memory, no BIDS, no files. Imported from `bids_harmony`."""
