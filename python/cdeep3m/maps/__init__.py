"""Probability maps, the output: a module for each format."""
