"""Caffe's messages and their files: .prototxt, .caffemodel, .solverstate."""
