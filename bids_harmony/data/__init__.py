"""Files that travel with the package: encoder weights."""
