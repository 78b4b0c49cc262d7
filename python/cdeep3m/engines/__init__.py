"""What runs the nets: the embedded engine, and Caffe itself."""
