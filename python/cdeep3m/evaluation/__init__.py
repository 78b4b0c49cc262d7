"""How right, how alike and how plausible maps, objects and trainings are, as data."""
