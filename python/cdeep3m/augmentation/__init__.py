"""Secondary and tertiary augmentation: training patches changed at random, anew each time that one is drawn."""
