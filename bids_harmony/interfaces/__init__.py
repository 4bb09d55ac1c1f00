"""Thin Nipype adapters: read files, call one core function, write files."""
