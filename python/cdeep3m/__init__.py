"""The commands and the trained models of CDeep3M, on today's machines."""

__version__ = "0.1.0"
