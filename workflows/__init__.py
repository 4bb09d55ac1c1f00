"""Nipype graphs that wire the interfaces: one file per stage, nothing scientific here."""
