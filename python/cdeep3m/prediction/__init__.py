"""From images and trained models to probability maps."""
