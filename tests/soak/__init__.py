"""Commands that are killed, starved, given damaged files and led astray, by the thousand; `python -m soak --help`."""
