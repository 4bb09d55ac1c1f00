"""Files: reading with limits, atomic writing, locks, NIfTI as it lies on disk, tensors."""
