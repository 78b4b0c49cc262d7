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

_ROWS2 = (
    (
        ("Maps wrap around: a plane whose maximum is 129 to 192 shows its most certain voxels as next to nothing."),
        "Values saturate, on one scale for all planes.",
    ),
    (
        "Every plane is scaled by its own power of two: neighbouring planes jump, and 255 becomes 254.",
        "One scale for all planes.",
    ),
    (
        "Packages are padded with the wrong planes and rows.",
        "They are mirrored in y and x.",
    ),
    (
        "Sides below 13 get a short pad, and the map comes out shifted.",
        "An error that names the smallest size.",
    ),
    (
        (
            "A stack of 10 planes or more is enhanced to names without leading zeros and read back as 1, 10, 11, "
            "2: training images do not fit their labels, maps are permuted."
        ),
        "Planes are enhanced as they are read, in their order.",
    ),
    (
        "One plane without contrast ends the enhancement, and the prediction.",
        "Such a plane stays as it is, with a warning.",
    ),
    (
        "A plane without noise may never come to its end (exact mode leaves it undenoised).",
        "It is not denoised.",
    ),
    (
        "Every plane is stretched by its own percentiles: brightness jumps along z.",
        "The same, as its models expect it; `--whole_volume` takes percentiles of all.",
    ),
    (
        "Stacks of 16 bits are taken modulo 256 in training.",
        "They keep their values, or are enhanced at full depth.",
    ),
    (
        "Of colour, the enhancement takes the blue channel, everything else the luma.",
        "Equal channels are read as gray; real colour is an error that says how to convert.",
    ),
    (
        "Stacks cannot be predicted without enhancement, HDF5 files neither predicted nor trained on.",
        "All formats can.",
    ),
    (
        "The enhancement deletes what its output folder holds.",
        "A folder with other files is refused.",
    ),
    (
        (
            "Text files or folders among the images are an error; of two images of one stem, one is lost; a "
            "folder with a dot in its name is taken for a stack."
        ),
        "Other files are ignored, two of one stem are an error, folders have any name.",
    ),
    (
        "The strengths `blur` and `sharpen` are crossed.",
        "Each is its own.",
    ),
    (
        "`sharpness` with small numbers blurs, and the noise called uniform is Gaussian.",
        "Sharpening sharpens; what is done is named.",
    ),
    (
        "Nothing can be repeated, and nothing records what was drawn.",
        "`--seed`; what was drawn is written beside the volumes.",
    ),
    (
        "Blur darkens by one gray level, noise, denoising and equalisation by half of one.",
        "Nothing is darkened.",
    ),
    (
        "Equalisation makes a constant plane white.",
        "It stays.",
    ),
    (
        "A single plane becomes black by elastic distortion, and its file is 2-D.",
        "It is distorted like any other, and 3-D; 2-D files are read.",
    ),
    (
        "Skew takes rows for the width; what it shows beyond the image counts as background.",
        "Axes are right; what lies outside is left out of the loss.",
    ),
    (
        "Images are filled with zeros before they are augmented, which noise and contrast see.",
        "They are augmented first.",
    ),
    (
        "Labels of more than two values: a question, whatever the answer; every value above 0 is foreground.",
        "An error that lists the values.",
    ),
    (
        "Validation data have an order of axes that no net takes.",
        "They are written like training data; those of CDeep3M2 are read.",
    ),
    (
        "`--1fmonly` trains all three nets; `runtraining.sh -h` never ends.",
        "One net; a help text.",
    ),
    (
        "A failed worker ends with status 12, a failed ensemble is not noticed.",
        "Status 10, 11 and 12, as in the first edition.",
    ),
    (
        "After a failure the same command never gets through.",
        "It goes on where it stopped.",
    ),
    (
        "Ensembles of unequal or missing inputs are cut short, with status 0.",
        "An error.",
    ),
    (
        "Relative paths end up in files that are read from another folder; a folder of no files passes.",
        "Paths are absolute; no files, or a number that is no multiple of 16, are an error.",
    ),
    (
        ("`cpu_resources.txt` is found from some folders alone, others are an error; three of its keys are not read."),
        "`--threads`, an environment variable, or the file, where it is; all keys are read.",
    ),
    (
        (
            "The enhancement is called by its bare name without quotes: paths with spaces fail, its exit status "
            "is ignored."
        ),
        "It is part of the program.",
    ),
    (
        "Overlays fail where images are a stack, in colour, or among other files.",
        "Images of any format, and other files beside them, work.",
    ),
    (
        "A folder of `.tiff` files cannot be predicted without enhancement.",
        "It can.",
    ),
)

CORRECTIONS2 = tuple(Correction(number, *row) for number, row in enumerate(_ROWS2, start=1))
"""The same for CDeep3M2, which `--exact --edition 2` reproduces."""
