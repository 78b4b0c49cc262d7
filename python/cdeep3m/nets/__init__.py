"""The DeepEM3D networks as code."""
