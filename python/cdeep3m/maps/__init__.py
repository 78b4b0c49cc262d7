"""Volumes that are written box by box."""
