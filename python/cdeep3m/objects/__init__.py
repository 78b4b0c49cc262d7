"""Separate objects in probability maps."""
