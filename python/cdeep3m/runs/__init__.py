"""What a folder on disk means: names, markers, states, and what happened in it."""
