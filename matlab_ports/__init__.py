"""Ports of the original Octave functions: pure arrays in, arrays out."""
