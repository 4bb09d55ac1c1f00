"""A whole cohort: what participants left, measured across sites."""
