"""What of a diffusion series is harmonized, as images on the reference grid."""

DWI_MODES = ("rish", "attenuation", "volume")
DEFAULT_DWI_MODE = "rish"
DWI_VOXEL_MM = 2.0
