"""What mast3r-demo registers."""
