"""Datasets, their operators and the sampler (spec 40 sections 4 to 6); built by name through the registry."""
