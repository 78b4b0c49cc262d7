"""The embedded engine: executes prototxt nets on PyTorch, CPU or CUDA."""
