"""The steps of CDeep3M2 against slow transcriptions of its formulas, at sizes and strengths that nobody recorded."""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from cdeep3m.edition2 import averaging, dividing, ensembling, merging, overlaying, padding, secondary, tertiary
from cdeep3m.edition2 import enhancement as enhancing
from cdeep3m.edition2.gray import blue_channel, to_8_bit_gray, wrapped
from cdeep3m.edition2.settings import Strengths
from cdeep3m.edition2.stacks import training_dataset
from cdeep3m.edition2.total_variation import denoise_lines
from cdeep3m.edition2.variations import variant_index
from cdeep3m.tiling.variants import variant, variants_for
from octave_cases import synth

SHAPES = [(3, 37, 52), (1, 64, 33), (5, 21, 90)]


def volume(shape: tuple[int, int, int], seed: int = 1) -> np.ndarray:
    z, y, x = np.indices(shape)
    return (110 + 70 * np.sin(y / 6 + z) * np.cos(x / 7) + synth(*shape, seed) % 23).astype(np.uint8)


# Enhancement


def taut_string(line: list[float], weight: float) -> list[float]:
    """The line of least total variation, as the shortest path through a tube around its running sum."""
    n = len(line)
    sums = [sum(line[:k]) for k in range(n + 1)]
    low = [sums[0], *(s - weight for s in sums[1:n]), sums[n]]
    high = [sums[0], *(s + weight for s in sums[1:n]), sums[n]]
    found: list[float] = []
    at, height = 0, sums[0]
    while at < n:
        steepest, least, bend_up, bend_down = float("inf"), float("-inf"), at, at
        for k in range(at + 1, n + 1):
            over, under = (high[k] - height) / (k - at), (low[k] - height) / (k - at)
            if under > steepest:
                end, slope = bend_up, steepest
                break
            if over < least:
                end, slope = bend_down, least
                break
            if over <= steepest:
                steepest, bend_up = over, k
            if under >= least:
                least, bend_down = under, k
        else:
            end, slope = n, (sums[n] - height) / (n - at)
        found += [slope] * (end - at)
        height += slope * (end - at)
        at = end
    return found


@pytest.mark.parametrize("weight", [0.01, 0.2, 1.5, 40.0])
@pytest.mark.parametrize("length", [2, 3, 8, 31])
def test_lines_are_denoised_as_a_taut_string(length, weight):
    lines = synth(4, 1, length, 9, "float32")[:, 0].astype(np.float64)
    lines[1] = np.round(lines[1] * 3)
    np.testing.assert_allclose(
        denoise_lines(lines, weight), [taut_string(line, weight) for line in lines.tolist()], atol=1e-11
    )


def slowly_enhanced(plane: np.ndarray, cut: int) -> np.ndarray:
    """Contrast, 35 Douglas-Rachford steps, contrast, as edition 2 does them; fractions are dropped."""
    f = plane / np.iinfo(plane.dtype).max
    low, high = (sorted_percentile(f, share) for share in (1, 99))
    f = (np.clip(f, low, high) - low) / (high - low)
    weight = noise(f) / 2

    def along(values: np.ndarray, axis: int) -> np.ndarray:
        return values - np.apply_along_axis(lambda line: taut_string(line.tolist(), weight), axis, values)

    t = np.full(f.shape, 2 * f.mean())
    for _ in range(35):
        a = 2 * along(t, 0) - t
        b = 2 * (f - along(f - a, 1)) - a
        t = (t + b) / 2
    c = along(t, 0)
    u = f - along(f - c, 1) - c
    low, high = (sorted_percentile(u, share) for share in (cut, 100 - cut))
    return (np.clip(u, low, high) - low) / (high - low) * 255


def sorted_percentile(values: np.ndarray, share: float) -> float:
    ordered = np.sort(values, axis=None)
    place = share / 100 * (ordered.size - 1)
    low = floor(place)
    high = min(low + 1, ordered.size - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def noise(plane: np.ndarray) -> float:
    taps = (-0.48296291314453416, 0.8365163037378079, -0.2241438680420134, -0.12940952255126037)

    def detail(line: np.ndarray) -> list[float]:
        mirrored = np.concatenate([line[2::-1], line, line[:-4:-1]])
        return [sum(taps[j] * mirrored[2 * k + 4 - j] for j in range(4)) for k in range((len(line) + 3) // 2)]

    details = np.apply_along_axis(detail, 1, np.apply_along_axis(detail, 0, plane))
    return float(np.median(np.abs(details[details != 0]))) / 0.6744897501960817


@pytest.mark.parametrize(("shape", "cut", "dtype"), [((12, 17), 2, np.uint8), ((9, 20), 7, np.uint16)])
def test_planes_are_enhanced_as_the_formulas_say(shape, cut, dtype):
    plane = volume((1, *shape))[0].astype(dtype) * (1 if dtype is np.uint8 else 211)
    expected = slowly_enhanced(plane, cut)
    doubtful = np.abs(expected - np.rint(expected)) < 1e-9
    found = enhancing.enhance(plane, cut)
    assert (found == np.trunc(expected))[~doubtful].all()
    assert (~doubtful).mean() > 0.7


# Secondary and tertiary augmentation


DISTINCT = Strengths(
    **{"highcontrast": 1, "lowcontrast": 2, "blur": 4, "sharpen": 6, "uniformnoise": 7},
    **{"tv_chambolle": 8, "histogramequalization": 9, "skew": 10, "elasticdistortion": 3},
)


def operated(plane: np.ndarray, variation: int, s: Strengths, generator: np.random.RandomState) -> np.ndarray:
    """What variations 2 to 7 do to a plane (10 to 15 as well, before they distort it)."""
    image = Image.fromarray(plane)
    if variation % 8 == 2:
        return np.asarray(ImageEnhance.Contrast(image).enhance(1.25 + 0.25 * s.highcontrast))
    if variation % 8 == 3:
        return np.asarray(ImageEnhance.Contrast(image).enhance(0.95 - 0.05 * s.lowcontrast))
    if variation % 8 == 4:
        return np.asarray(ImageEnhance.Sharpness(image).enhance(s.blur))
    if variation % 8 == 5:
        return gaussian_filter(plane[:, :, None], 0.125 + 0.125 * s.sharpen)[:, :, 0]
    if variation % 8 == 6:
        noisy = plane / 255 + generator.normal(0, 0.05 + 0.015 * s.uniformnoise, (*plane.shape, 1))[:, :, 0]
        return np.trunc(255 * np.clip(noisy, 0, 1)).astype(np.uint8)
    if variation % 8 == 7:
        from skimage.restoration import denoise_tv_chambolle

        weight = noise(plane.astype(float)) / 100 * 0.1 * s.tv_chambolle
        denoised = denoise_tv_chambolle((plane / 255)[:, :, None], weight=weight, channel_axis=None)
        return np.trunc(255 * denoised[:, :, 0]).astype(np.uint8)
    return plane


def equalised(plane: np.ndarray, bins: int) -> np.ndarray:
    """What variation 8 does to a plane, before fractions are dropped."""
    edges = np.linspace(int(plane.min()), int(plane.max()), bins + 1).tolist()
    counts = [0] * bins
    for value in plane.ravel().tolist():
        counts[min(bins, bisect_right(edges, value)) - 1] += 1
    cumulated = np.cumsum(counts) / plane.size * (bins - 1)
    return np.interp(plane, edges[:-1], cumulated)


@pytest.mark.parametrize("strengths", [DISTINCT, Strengths.all_of(7)], ids=["each its own", "7"])
@pytest.mark.parametrize("variation", range(1, 8))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_operations_have_the_strengths_of_their_formulas(shape, variation, strengths):
    images, labels = volume(shape), (volume(shape, 2) > 120).astype(np.uint8)
    seeded, same = (np.random.RandomState(5) for _ in range(2))  # noqa: NPY002
    draws = secondary.Draws(noise=lambda deviation, size: seeded.normal(0, deviation, size))
    found, untouched = secondary.augment(images, labels, variation, strengths, draws)
    expected = np.stack([operated(plane, variation, strengths, same) for plane in images])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(untouched, labels)


@pytest.mark.parametrize("strength", [0, 1, 7, 10, 52])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_histograms_are_equalised_with_bins_of_the_formula(shape, strength):
    images = volume(shape)
    strengths = Strengths(histogramequalization=strength)
    found, _ = secondary.augment(images, np.zeros_like(images), 8, strengths, secondary.Draws())
    for plane, made in zip(images, found, strict=True):
        expected = equalised(plane, 261 - 5 * strength)
        either = [np.trunc(expected + by) % 256 for by in (-1e-9, 1e-9)]
        assert ((made == either[0]) | (made == either[1])).all()


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize(("shape", "strength"), [((37, 52), 10), ((330, 326), 3)], ids=str)
def test_a_skew_moves_one_corner_by_so_many_voxels(shape, strength, side):
    """The eight coefficients take the new corners, x along the rows, to the old ones."""
    rows, columns = shape
    q = floor((1 + floor(3 * strength * max(shape))) / 60)
    old = [(0, 0), (rows, 0), (rows, columns), (0, columns)]
    new = list(old)
    new[side] = [(-q, 0), (rows, -q), (rows + q, columns), (0, columns + q)][side]
    a, b, c, d, e, f, g, h = secondary.perspective(shape, strength, side)
    for (x, y), (u, v) in zip(new, old, strict=True):
        bottom = g * x + h * y + 1
        assert ((a * x + b * y + c) / bottom, (d * x + e * y + f) / bottom) == pytest.approx((u, v), abs=1e-8)


@pytest.mark.parametrize("variation", [9, 10, 11, 12])
def test_skewed_variations_are_operated_on_first(variation):
    images, labels = volume((2, 40, 57)), (volume((2, 40, 57), 2) > 120).astype(np.uint8)
    draws = secondary.Draws(side=2)
    found = secondary.augment(images, labels, variation, DISTINCT, draws)
    plain = np.stack([operated(plane, variation if variation > 9 else 1, DISTINCT, None) for plane in images])
    coefficients = secondary.perspective((40, 57), DISTINCT.skew, 2)
    for stack, out, cut in ((plain, found[0], 0), (labels, found[1], 1)):
        for plane, made in zip(stack, out, strict=True):
            image = Image.fromarray(plane)
            skewed = np.asarray(image.transform(image.size, Image.PERSPECTIVE, coefficients, Image.BICUBIC))
            np.testing.assert_array_equal(made, skewed > 0.5 if cut else skewed)


@pytest.mark.parametrize("shape", [(3, 37, 52), (2, 61, 40)], ids=str)
def test_elastic_distortions_interpolate_between_the_first_and_the_last_plane(shape):
    images, labels = volume(shape), (volume(shape, 2) > 120).astype(np.uint8)
    depth, rows, columns = shape
    generator = np.random.RandomState(3)  # noqa: NPY002
    fields = [2 * generator.rand(rows, columns) - 1 for _ in range(4)]
    found = secondary.augment(
        images, labels, 13, Strengths(elasticdistortion=10, sharpen=0), secondary.Draws(fields=fields)
    )
    blurred = np.stack([gaussian_filter(plane[:, :, None], 0.125)[:, :, 0] for plane in images])
    smooth = [gaussian_filter(field, 27 - 10, mode="constant") * 550 for field in fields]
    seen = 0
    for j in range(depth):
        share = j / (depth - 1)
        dx, dy = (smooth[k] + share * (smooth[k + 2] - smooth[k]) for k in range(2))
        for y in range(0, rows, 3):
            for x in range(0, columns, 4):
                at_y, at_x = y + dy[y, x], x + dx[y, x]
                if not (0 <= at_y < rows - 1 and 0 <= at_x < columns - 1):
                    continue
                seen += 1
                y0, x0 = floor(at_y), floor(at_x)
                v, u = at_y - y0, at_x - x0
                value, label = (
                    (1 - v) * ((1 - u) * s[j, y0, x0] + u * s[j, y0, x0 + 1])
                    + v * ((1 - u) * s[j, y0 + 1, x0] + u * s[j, y0 + 1, x0 + 1])
                    for s in (blurred.astype(float), labels.astype(float))
                )
                assert abs(int(found[0][j, y, x]) - value) <= 0.5 + 1e-6
                assert abs(label - 0.5) < 1e-6 or int(found[1][j, y, x]) == (label > 0.5)
    assert seen > 100


@pytest.mark.parametrize("factor", [0.25, 0.613, 0.999, 1.0, 1.37, 4.0])
def test_resized_stacks_have_the_sizes_and_fills_of_the_formulas(factor):
    shape = (2, 341, 367)
    images, labels = volume(shape), (volume(shape, 2) > 120).astype(np.uint8)
    found, found_labels = tertiary.resize(images, labels, factor)
    rows, columns = floor(341 * factor), floor(367 * factor)
    sides = (rows, columns)
    if factor < 1 and (rows <= 325 or columns <= 325):
        sides = (max(rows, 325), max(columns, 325))
    assert found.shape == found_labels.shape == (2, *sides)
    for plane, label, made, made_label in zip(images, labels, found, found_labels, strict=True):
        resized = [np.asarray(Image.fromarray(p).resize((columns, rows), Image.LANCZOS)) for p in (plane, label)]
        np.testing.assert_array_equal(made[:rows, :columns], resized[0])
        np.testing.assert_array_equal(made_label[:rows, :columns], resized[1] > 0.5)
        assert not made[rows:].any()
        assert not made[:, columns:].any()


# Axes


@pytest.mark.parametrize("i", range(1, 17))
def test_a_variation_stored_rows_first_is_that_of_the_first_edition_under_its_other_number(i):
    """Byte for byte: axes (y, x, z) of variation i, axes (x, y, z) of variant j(i)."""
    stack = volume((3, 8, 8))  # a square: turned planes keep their size
    rows_first = np.moveaxis(variant(i).apply(stack), 0, -1)
    x_first = variant(variant_index(i)).apply(stack).transpose(2, 1, 0)
    np.testing.assert_array_equal(rows_first, x_first)
    np.testing.assert_array_equal(training_dataset(variant(i).apply(stack)), rows_first)


@pytest.mark.parametrize(
    ("net", "speed", "expected"),
    [
        ("1fm", 2, {7, 8, 9, 12}),
        ("3fm", 2, {3, 4, 5, 7, 9, 10, 14, 16}),
        ("5fm", 2, {1, 2, 6, 8, 11, 12, 13, 15}),
        ("1fm", 4, {1, 4, 5, 8}),
        ("3fm", 4, {1, 6, 11, 13}),
        ("5fm", 4, {7, 8, 9, 12}),
        *((net, 10, {7}) for net in ("1fm", "3fm", "5fm")),
    ],
)
def test_speeds_predict_the_variants_of_the_table(net, speed, expected):
    assert {variant_index(one.index) for one in variants_for(net, speed)} == expected


# Packages and maps


@pytest.mark.parametrize("side", [1, 12, 13, 999, 1000, 1024, 1025, 2000, 2001, 2012, 3030])
def test_sides_are_cut_every_1000_voxels(side):
    if side <= 1024:
        assert dividing.tile_ranges(side) == ((0, side),)
        return
    breaks = [*range(0, side, 1000), side]
    expected = [(b - 12 if b else 0, e if e == side else e + 12) for b, e in zip(breaks[:-1], breaks[1:], strict=True)]
    assert list(dividing.tile_ranges(side)) == expected


@pytest.mark.parametrize("planes", [1, 99, 100, 101, 104, 105, 199, 200, 204, 205, 1004])
def test_planes_are_cut_every_100(planes):
    ends = list(range(0, planes, 100)) + [planes]
    if len(ends) > 2 and planes < ends[-2] + 5:
        ends.pop(-2)
    assert list(dividing.z_cuts(planes)) == ends


@pytest.mark.parametrize("shape", [(1, 14, 40), (4, 15, 1013), (2, 1012, 20), (3, 1018, 16), (2, 1024, 30)], ids=str)
@pytest.mark.parametrize(("top", "left"), [(True, True), (False, True), (True, False)])
def test_canvases_are_laid_out_voxel_by_voxel(shape, top, left):
    """Which voxel of the package stands where: planes in reverse above and below, rows upside down beside."""
    depth, rows, columns = shape
    stack = np.arange(depth * rows * columns, dtype=np.uint32).reshape(shape) + 1
    found = padding.canvas(stack, top=top, left=left)
    y_begin = 12 if top and rows <= 1012 else 0
    x_begin = 12 if left and columns <= 1012 else 0
    assert found.shape == (depth + 4, 1024, 1024)

    def after_rows(z: int, y: int, x: int) -> int:
        """Of the package with what was added above and below."""
        return int(stack[z, y - y_begin, x]) if y >= y_begin else int(stack[depth - 1 - z, y + 1, x])

    # what is added on the left is taken before the rows below are; what is added on the right, after
    height = y_begin + rows
    m_rows, width = min(12, 1024 - height), x_begin + columns
    m_columns = min(12, 1024 - width)

    def beside(z: int, y: int, x: int) -> int:
        if x >= x_begin:
            return after_rows(z, y, x - x_begin)
        return after_rows(z, height - 1 - y, x + 1)

    def all_rows(z: int, y: int, x: int) -> int:
        return beside(z, y, x) if y < height else beside(depth - 1 - z, height - m_rows - 1 + y - height, x)

    def whole(z: int, y: int, x: int) -> int:
        if x < width:
            return all_rows(z, y, x)
        return all_rows(z, height + m_rows - 1 - y, width - m_columns - 1 + x - width)

    bottom, right = height + m_rows, width + m_columns
    for z in range(depth):
        for y in sorted({0, 5, 11, 12, 13, height - 1, height, bottom - 1, bottom}):
            for x in sorted({0, 4, 11, 12, 14, width - 1, width, right - 1, right}):
                if y < 1024 and x < 1024:
                    expected = whole(z, y, x) if y < bottom and x < right else 0
                    assert found[z + 2, y, x] == expected, (z, y, x)
    assert not found[:, bottom:].any()
    assert not found[:, :, right:].any()
    for k in range(2):
        np.testing.assert_array_equal(found[k], found[2])
        np.testing.assert_array_equal(found[-1 - k], found[-3])


@pytest.mark.parametrize("highest", [0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 128, 191, 192, 193, 255, 3000, 65535])
def test_planes_are_scaled_by_the_nearest_power_of_two(highest):
    values = sorted({0, 1, highest // 3, highest // 2, highest})
    nearest = min((2**k for k in range(1, 17)), key=lambda power: (abs(power - highest), power))
    expected = [round(Fraction(255, nearest) * value) % 256 for value in values]
    assert merging.to_map(np.array([values], np.uint16)).tolist() == [expected]


@pytest.mark.parametrize("size", [(1030, 2001), (40, 1500), (1013, 1024), (1012, 9)], ids=str)
def test_voxels_of_a_plane_come_from_where_they_lie_in_their_canvas(size):
    """Every canvas holds its number, so that the plane shows which one a voxel came from."""
    areas = dividing.areas(*size)
    tiles = [np.full((1024, 1024), number, np.uint8) for number in range(len(areas))]
    plane = merging.stitched(tiles, areas, size)
    rows, columns = dividing.tile_ranges(size[0]), dividing.tile_ranges(size[1])
    for y in sorted({0, 999, 1000, 1001, 1999, size[0] - 1} & {*range(size[0])}):
        for x in sorted({0, 999, 1000, 1999, 2000, size[1] - 1} & {*range(size[1])}):
            row = min(y // 1000, len(rows) - 1)
            column = min(x // 1000, len(columns) - 1)
            assert plane[y, x] == row * len(columns) + column


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_variations_are_averaged_in_single_precision_one_after_another(count):
    planes = [synth(1, 6, 9, seed, "float32")[0] for seed in range(1, count + 1)]
    found = averaging.to_8_bits(averaging.mean_of_variations(planes))
    for y, x in np.ndindex(6, 9):
        total = np.float32(0)
        for plane in planes:
            total = np.float32(total + plane[y, x])
        assert found[y, x] == int(np.rint(np.float32(total / np.float32(count)) * np.float32(255)))


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_nets_are_averaged_with_halves_to_even(count):
    planes = [synth(1, 7, 8, seed, "uint16")[0] % 600 for seed in range(count)]
    for y, x in np.ndindex(7, 8):
        mean = Fraction(sum(int(plane[y, x]) for plane in planes), count)
        assert ensembling.ensemble(planes)[y, x] == round(mean) % 256
        assert ensembling.truncated_ensemble(planes)[y, x] == floor(mean) % 256


def test_overlays_follow_their_formula_voxel_by_voxel():
    values = [0, 1, 39, 40, 41, 100, 214, 215, 216, 234, 235, 236, 255]
    segmented, raw = (np.array(grid, np.uint8) for grid in np.meshgrid(values, values, indexing="ij"))
    found = overlaying.overlay(segmented, raw)

    def stretched(value: float, low: int, high: int) -> int:
        return floor((min(max(value, low), high) - low) / (high - low) * 255)

    for at in np.ndindex(segmented.shape):
        s, r = stretched(int(segmented[at]), 40, 215), stretched(int(raw[at]), 0, 235)
        green, other = round(0.4 * s + 0.6 * r), round(0.6 * r)
        assert found[at].tolist() == [stretched(value, 0, 225) for value in (other, green, other)]


def test_gray_values_of_every_kind_are_read_as_the_formulas_say():
    wide, colour = synth(1, 5, 6, 1, "uint16")[0], np.moveaxis(synth(3, 5, 6, 2), 0, -1)
    np.testing.assert_array_equal(to_8_bit_gray(wide), wide // 256)
    np.testing.assert_array_equal(wrapped(wide), wide % 256)
    np.testing.assert_array_equal(blue_channel(colour), colour[..., 2])
    luma = [[(9797 * int(r) + 19234 * int(g) + 3737 * int(b)) >> 15 for r, g, b in row] for row in colour]
    np.testing.assert_array_equal(to_8_bit_gray(colour), luma)
