"""What Octave's imread() makes of an image file: the class and the values of its array.

Octave reads through GraphicsMagick, which keeps 8 or 16 bits a sample and decides by the values whether an image is
bilevel. Deviation: alpha channels, which imread() returns apart, are dropped here.
"""

from __future__ import annotations

import numpy as np

WHITE_8, WHITE_16 = 255, 65535


def imread(pixels: np.ndarray, *, palette: np.ndarray | None = None, min_is_white: bool = False) -> np.ndarray:
    """Give one image the class and the values that Octave gives it.

    Parameters
    ----------
    pixels : ndarray, shape (y, x) or (y, x, channels)
        Decoded samples: uint8 (those of 1, 2 and 4 bits scaled to 0..255), uint16, int16, uint32, float32 or float64;
        or, with a palette, indices. Channels are gray and alpha (2), red, green and blue (3), and alpha (4).
    palette : ndarray of uint8, shape (colours, 3), optional
        Colours of a palette image.
    min_is_white : bool
        Whether 0 is white, as a TIFF file can say.

    Returns
    -------
    ndarray of bool, uint8 or uint16, shape (y, x) or (y, x, 3)
        Octave's logical (bool) for 8-bit images without any value between black and white, and for palettes without any
        component between them; there the *index* is what counts, not the colour.

    Examples
    --------
    >>> imread(np.uint8([[0, 255]])).tolist(), imread(np.uint8([[0, 254]])).tolist()
    ([[False, True]], [[0, 254]])
    >>> imread(np.uint16([[0, 65535]])).tolist(), imread(np.float32([[0.5, 2]])).tolist()
    ([[0, 65535]], [[32768, 65535]])
    """
    if palette is not None:
        return pixels != 0 if np.isin(palette, (0, WHITE_8)).all() else pixels
    samples = to_quantum(without_alpha(pixels))
    if min_is_white:
        samples = np.iinfo(samples.dtype).max - samples
    return samples != 0 if is_bilevel(samples) else samples


def without_alpha(pixels: np.ndarray) -> np.ndarray:
    """Drop the alpha channel of (y, x, channels) pixels; gray with alpha becomes (y, x).

    Parameters
    ----------
    pixels : ndarray of any type, shape (y, x, channels)

    Returns
    -------
    ndarray of that type, shape (y, x) or (y, x, 3)
    """
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[-1] <= 2 else pixels[..., :3]


def is_bilevel(samples: np.ndarray) -> bool:
    """Return whether 8-bit samples are all black or white; images of 16 bits never count as bilevel.

    Parameters
    ----------
    samples : ndarray of uint8 or uint16, any shape

    Examples
    --------
    >>> is_bilevel(np.uint8([[0, 0]])), is_bilevel(np.uint8([[0, 1]])), is_bilevel(np.uint16([[0, 65535]]))
    (True, False, False)
    """
    return samples.dtype == np.uint8 and not ((samples != 0) & (samples != WHITE_8)).any()


def to_quantum(samples: np.ndarray) -> np.ndarray:
    """Bring samples of other types to the 16 bits that GraphicsMagick keeps; uint8 and uint16 stay as they are.

    Signed samples keep their bits, 32-bit integers are divided by 65537, floating point is scaled from [0, 1].

    Parameters
    ----------
    samples : ndarray of a number type, any shape

    Returns
    -------
    ndarray of uint8 or uint16, that shape

    Examples
    --------
    >>> to_quantum(np.int16([-32768, -1, 5])).tolist(), to_quantum(np.uint32([65541, 1114117, 2**32 - 1])).tolist()
    ([32768, 65535, 5], [1, 16, 65535])
    """
    if samples.dtype.kind == "f":
        scaled = np.clip(np.nan_to_num(samples.astype(np.float64), nan=0.0), 0, 1) * WHITE_16
        return np.floor(scaled + 0.5).astype(np.uint16)
    if samples.dtype.itemsize <= 2:
        return samples.view(f"u{samples.dtype.itemsize}")
    return (samples.view(f"u{samples.dtype.itemsize}") // 65537).astype(np.uint16)
