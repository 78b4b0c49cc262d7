"""How a volume is divided: packages, test-time-augmentation variants, and how their predictions are joined."""
