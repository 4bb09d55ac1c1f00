"""Site profiles, synthetic twins, losses and the trainer."""
