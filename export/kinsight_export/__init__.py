"""The workstation half: writes bundles that the device half reads."""
