"""Caffe's layers and nets on PyTorch, plain."""
