"""One layer type of Caffe, one module."""
