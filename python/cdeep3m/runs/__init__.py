"""What a folder on disk means: names, markers, states, and which model belongs to a state."""
