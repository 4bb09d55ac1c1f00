"""Diffusion series: their gradients, the tensor and NODDI maps that are fitted to them, and the
rotation-invariant features by which sites are compared.

Arrays and gradient files in, arrays out. Series are (X, Y, Z, N) float32 with the volumes last;
b-values are s/mm2, diffusivities mm2/s, and directions stay in the frame of the bvec file: nothing
here rotates one.
"""
