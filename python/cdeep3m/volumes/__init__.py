"""Volumes on disk, a module per format."""
