"""From a scan on disk to slices on the reference grid, and back to the scan's own grid.

Arrays in, arrays out; only `volume` and `registration` know files. Voxel data are float32 in RAS+
order, affines and transforms are RAS+ millimetres, float64.
"""
