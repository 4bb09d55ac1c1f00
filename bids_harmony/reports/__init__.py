"""Pictures of what harmonization did to a scan."""
