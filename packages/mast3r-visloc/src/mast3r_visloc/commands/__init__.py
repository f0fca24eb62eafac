"""What the commands ``mast3r visloc ...`` do; their flags are in `mast3r_visloc.cli`."""
