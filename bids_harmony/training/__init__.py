"""Site banks, synthetic twins, losses and the trainer."""
