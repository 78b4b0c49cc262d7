"""What corrected mode does otherwise than the original, number by number.

Code and tests name a correction by its number. `docs/fidelity.md` lists them from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Correction:
    """One defect of the original, and what is done instead unless exact mode is asked for.

    Attributes
    ----------
    number : int
        Counted from 1.
    defect : str
        What release 1.6.3 of the original does, and exact mode reproduces.
    corrected : str
        What is done by default.
    """

    number: int
    defect: str
    corrected: str


_ROWS = (
    (
        "A folder of images loses the last row and column of every package; the last row of the map repeats the one "
        "two before it.",
        "The whole area is read.",
    ),
    (
        "A folder with a side of exactly 1013 comes out shifted by 12 pixels; a last tile of 12 pixels or fewer (sides "
        "of 2001, 3001, ...) crashes.",
        "Both work.",
    ),
    (
        "Where one side is above 1024 and the other is not, the first 13 rows or columns come out black.",
        "Every voxel is predicted.",
    ),
    ("Sides below 14 crash.", "An error that names the smallest size."),
    (
        "Volumes of one or two planes crash.",
        "The missing neighbours are mirrored, or repeated where there is one plane only.",
    ),
    (
        "Images whose first plane is black, white or has only these two values become 0 and 1 throughout.",
        "Images keep their values; labels of 0 and one other value become 0 and 1.",
    ),
    ("Labels of more than two values: a question on standard input, then garbage.", "An error that lists the values."),
    ("Images of fewer than three values: a question on standard input.", "A warning."),
    (
        "Every plane of a map is scaled by the power of two nearest to its own maximum: planes flicker, and the noise "
        "of empty ones is multiplied.",
        "One scale for all planes.",
    ),
    (
        "Packages that are filled with zeros are stored as float64, in 8 times the memory.",
        "They are stored in the type of the images.",
    ),
    (
        "An HDF5 file that exists, larger or smaller, keeps its shape when it is written again.",
        "Files are replaced whole.",
    ),
    ("HDF5 volumes cannot be trained on.", "They can."),
    (
        "Colour is an error in training; prediction takes the red channel.",
        "Equal channels are read as gray; real colour is an error that says how to convert.",
    ),
    ("Folder names with a dot, a space or % fail.", "They work."),
    ("Images and labels of different sizes pass where both are below 325.", "An error."),
    (
        "Files that do not belong into a variant's folder shift its planes.",
        "Planes are found by the names of their files.",
    ),
    ("An ensemble of nets with different numbers of planes is cut to the shortest.", "An error."),
    (
        "File names without leading zeros are read in the order of their bytes: img1, img10, img2.",
        "They are read in the order of their numbers, with a warning where the two differ.",
    ),
    ("Histogram matching crashes, and so does its reader.", "Both work."),
    (
        "A training batch without any background voxel ends the training.",
        "Its background has weight 0, and the training goes on, with a warning.",
    ),
)

CORRECTIONS = tuple(Correction(number, *row) for number, row in enumerate(_ROWS, start=1))
"""All of them, by number."""
