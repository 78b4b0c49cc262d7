"""From labelled volumes to trained models."""
