"""Caffe's tools inside a container, through the Docker SDK; nothing else of the package imports it."""
