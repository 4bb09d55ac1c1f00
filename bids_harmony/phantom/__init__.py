"""Synthetic travelling subjects: anatomies of one template, seen by simulated scanners."""
