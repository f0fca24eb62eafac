"""Formats that a scene can be written in; each module holds one exporter ``(scene, folder) -> paths``."""
