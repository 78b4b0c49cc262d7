"""Caffe's solvers: steps, snapshots, logs."""
