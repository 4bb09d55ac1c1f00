"""Diffusion series: what is special about them when their site's look is changed."""
