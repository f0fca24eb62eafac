"""A head, a dataset, a loss and a command for mast3r, to copy from."""
