"""Trained models: what a file holds, which ones are published, how they come here, and whether they are whole."""
