"""The training loop: one file a concept; ``training.py`` is the whole way on one page."""
