"""What the zgc-* tools share. Python 3.9 or newer, standard library only (PNG needs matplotlib)."""
