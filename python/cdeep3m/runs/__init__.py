"""What a folder on disk says about a run."""
