"""Predictions of windows and of whole stacks."""
