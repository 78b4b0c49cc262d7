"""How good maps and trainings are."""
