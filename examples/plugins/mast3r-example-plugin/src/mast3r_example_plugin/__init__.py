"""A head, a loss and a command for mast3r, to copy from."""
