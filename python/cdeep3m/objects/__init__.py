"""Objects of a volume: labelled, counted and measured."""
