"""A head, a dataset, a transform, a loss and a command for mast3r, to copy from."""
