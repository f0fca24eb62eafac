"""What mast3r-sfm registers, through the same hooks as anybody's plugin."""
