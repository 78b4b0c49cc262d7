"""What the files of prepared training data are called, and which of them go together."""

from __future__ import annotations

from cdeep3m.edition2.settings import SETTINGS_FILE
from cdeep3m.runs.gray_range import NOTE
from cdeep3m.runs.made_of import Kind
from cdeep3m.runs.provenance import RECORD

STACK = "training_full_stacks_v{}.h5"
"""An orientation of the only volume, by its number."""
STACK_OF_VOLUME = "training_full_stacks_v{}_{}.h5"
"""An orientation of one of several volumes, by the numbers of both."""
VALIDATION_STACK = "validation_stack_v1.h5"
DRAWS = "draws_v{}.json"
"""What was drawn at random for a volume, by its number."""

TRAINING = Kind((STACK.format("*"),), (DRAWS.format("*"), SETTINGS_FILE.format("*"), RECORD, NOTE))
VALIDATION = Kind((VALIDATION_STACK,))
