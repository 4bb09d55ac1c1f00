"""Diffusion series: their gradients, and the tensor and NODDI maps that are fitted to them.

Arrays and gradient files in, arrays out. Series are (X, Y, Z, N) float32 with the volumes last;
b-values are s/mm2, diffusivities mm2/s, and directions stay in the frame of the bvec file: nothing
here rotates one.
"""
