"""Gray values: the same picture gives the same numbers, whatever file it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdeep3m.errors import InputError
from cdeep3m.matlab_ports.imread import to_quantum

if TYPE_CHECKING:
    import numpy.typing as npt

READ = ("uint8", "uint16", "int8", "int16", "float16", "float32", "float64")
EXPECTED = "8- or 16-bit gray values without a sign, or floating point from 0 to 1"
LOOKED_THROUGH = 2**28
"""Floating-point volumes up to so many bytes are looked through for NaN when they are opened, larger ones as they are
read."""
REMEDY = "Convert all images alike, for example with ImageJ (Image > Type > 16-bit)"


def gray_type(stored: npt.DTypeLike, name: str) -> np.dtype:
    """Return the type that images of a stored type are read as.

    Parameters
    ----------
    stored : dtype
        Of the samples in the file.
    name : str
        File or plane, for the message.

    Returns
    -------
    dtype
        uint8 or uint16.

    Raises
    ------
    InputError
        Values of that type are no gray values: 32-bit integers have no range that all programs agree on.

    Examples
    --------
    >>> gray_type("int16", "s.tif"), gray_type("u1", "s.tif"), gray_type(">f4", "v.h5")
    (dtype('uint16'), dtype('uint8'), dtype('uint16'))
    """
    dtype = np.dtype(stored)
    if dtype.newbyteorder("=").name not in READ:
        raise InputError(f"{name} holds {dtype} values; expected {EXPECTED}. {REMEDY}")
    return np.dtype(np.uint8 if dtype.itemsize == 1 else np.uint16)


def gray_values(samples: np.ndarray, name: str) -> np.ndarray:
    """Return samples as uint8 or uint16; floating point is scaled from [0, 1] to 0..65535.

    Parameters
    ----------
    samples : ndarray, any shape
    name : str
        File or plane, for the message.

    Raises
    ------
    InputError
        There are NaN, infinity, negative values, floating-point values above 1, or values of another type.

    Examples
    --------
    >>> gray_values(np.int16([0, 5]), "s.tif"), gray_values(np.float32([0, 0.5, 1]), "v.h5")
    (array([0, 5], dtype=uint16), array([    0, 32768, 65535], dtype=uint16))
    """
    gray_type(samples.dtype, name)
    if samples.dtype.kind in "if" and samples.size:
        demand_finite(samples, name)
        low, high = samples.min(), samples.max()
        if low < 0 or (samples.dtype.kind == "f" and high > 1):
            raise InputError(f"{name} holds {samples.dtype} values from {low} to {high}; expected {EXPECTED}. {REMEDY}")
    return to_quantum(samples)


def demand_finite(samples: np.ndarray, name: str) -> None:
    """Raise InputError when floating-point samples hold NaN or infinity.

    Parameters
    ----------
    samples : ndarray of a number type, any shape
    """
    if samples.dtype.kind != "f" or np.isfinite(samples).all():
        return
    odd = samples[~np.isfinite(samples)]
    which = "NaN (not a number)" if np.isnan(odd).any() else "infinity"
    raise InputError(f"{name} holds {which} in {odd.size} of {samples.size} values; expected numbers. Replace them")
