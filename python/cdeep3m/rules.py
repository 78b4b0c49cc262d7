"""What to do where the original loses or corrupts data: as it does, or right (docs/fidelity.md numbers the defects)."""

from __future__ import annotations

from dataclasses import dataclass

SPEEDS = (1, 2, 4, 10)
"""What --augspeed offers, by either rules."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Every decision that exact and corrected mode take differently, made once, where a command begins.

    Attributes
    ----------
    name : str
        What runs write down: `original`, `corrected` or `second edition`.
    second_edition : bool
        Steps are those of CDeep3M2 (`cdeep3m.edition2`), which has defects of its own.
    octave_images : bool
        Images are read as Octave reads them: black and white alone become logical, the first plane decides for its
        stack, colour gives its red channel, questions are asked, and paths with dots or % fail (6 to 8, 12 to 14).
    bytewise_order : bool
        Files are sorted bytewise, img10 before img2, and .tiff is no image of a folder (18).
    stray_files_count : bool
        Every file of a folder of predictions counts as a plane, whatever its name (16).
    averages_common_planes : bool
        Maps with different numbers of planes are averaged as far as the shortest goes (17).
    octave_areas : bool
        Packages are cut as the original cuts them: a folder's lose their last row and column, some voxels are covered
        by none, and tiny sides crash (1 to 4).
    shortest_stack : int
        Fewest planes that can be predicted (5).
    fills_as_double : bool
        Packages that need zeros become float64 (10).
    scales_planes_alone : bool
        Each plane of a map is scaled by its own maximum (9).
    keeps_old_shape : bool
        A stack that is written over another one keeps that one's shape, and old files stay (11).
    octave_watershed : bool
        Apply3DWatershed takes the defaults of Octave's functions.
    histmatch_crashes : bool
        Histmatch is refused (19).
    stops_without_background : bool
        A training batch without any background voxel ends the training (20).
    paths_as_given : bool
        The files of a training name its folders as they were typed (28 of CDeep3M2).
    """

    name: str
    second_edition: bool = False
    octave_images: bool
    bytewise_order: bool
    stray_files_count: bool
    averages_common_planes: bool
    octave_areas: bool
    shortest_stack: int
    fills_as_double: bool
    scales_planes_alone: bool
    keeps_old_shape: bool
    octave_watershed: bool
    histmatch_crashes: bool
    stops_without_background: bool
    paths_as_given: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether they are those of an original, which knows no notes of what a folder was made of."""
        return self.octave_images or self.second_edition


ORIGINAL = Rules(
    name="original",
    octave_images=True,
    bytewise_order=True,
    stray_files_count=True,
    averages_common_planes=True,
    octave_areas=True,
    shortest_stack=3,
    fills_as_double=True,
    scales_planes_alone=True,
    keeps_old_shape=True,
    octave_watershed=True,
    histmatch_crashes=True,
    stops_without_background=True,
)
"""Release 1.6.3, bit for bit: `--exact`."""

CORRECTED = Rules(
    name="corrected",
    octave_images=False,
    bytewise_order=False,
    stray_files_count=False,
    averages_common_planes=False,
    octave_areas=False,
    shortest_stack=1,
    fills_as_double=False,
    scales_planes_alone=False,
    keeps_old_shape=False,
    octave_watershed=False,
    histmatch_crashes=False,
    stops_without_background=False,
)
"""Nothing lost and nothing corrupted: the default."""


EDITION2 = Rules(
    name="second edition",
    second_edition=True,
    octave_images=False,
    bytewise_order=True,
    stray_files_count=True,
    averages_common_planes=True,
    octave_areas=False,
    shortest_stack=1,
    fills_as_double=False,
    scales_planes_alone=True,
    keeps_old_shape=False,
    octave_watershed=False,
    histmatch_crashes=False,
    stops_without_background=True,
    paths_as_given=True,
)
"""CDeep3M2 2.1.5, bit for bit: `--exact --edition 2`."""


def rules_of(*, exact: bool, edition: int = 1) -> Rules:
    """Return the rules that `--exact`, or its absence, and `--edition` ask for."""
    if not exact:
        return CORRECTED
    return EDITION2 if edition == 2 else ORIGINAL
