"""Numbers that say how far an image moved, and whether it moved towards the target site."""
