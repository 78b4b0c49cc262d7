"""The steps of CDeep3M2 against its recorded runs, arrays in, arrays out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from cdeep3m.matlab_ports.augment_data import restore

from cdeep3m.edition2 import averaging, dividing, ensembling, merging, overlaying, padding, secondary, tertiary
from cdeep3m.edition2 import enhancement as enhancing
from cdeep3m.edition2.gray import to_8_bit_gray
from cdeep3m.edition2.settings import Strengths
from cdeep3m.edition2.variations import variant_index
from cdeep3m.tiling.variants import variant, variants_for
from edition2.recordings import NOT_REPEATED, Recording, described, digest, files, ids, image_of, recordings, synth

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATED: set[tuple[str, str]] = set()
"""Kind and name of every recorded case that a test runs."""


def every(kind: str, *, status: int | None = None, where: Callable[[Recording], bool] = lambda _: True):
    """Parametrise over the cases of a format that can be repeated; one that is skipped where there are none."""
    cases = [
        r
        for r in recordings(kind)
        if (status is None or r.case.get("status", 0) == status) and r.name not in NOT_REPEATED and where(r)
    ]
    REPEATED.update((kind, case.name) for case in cases)
    absent = pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings of {kind} (set CDEEP3M_REFERENCE)"))
    return pytest.mark.parametrize("recorded", cases or [absent], ids=ids)


# Enhancement


@every("enhance", status=0)
def test_a_plane_is_enhanced_as_recorded(recorded: Recording):
    plane, case = recorded.array(f"{recorded.name}/in"), recorded.case
    stretched = enhancing.first_stretch(plane)
    assert enhancing.noise_of(stretched) == pytest.approx(case["sigma"], rel=1e-9, abs=1e-15)
    denoised = enhancing.denoised(stretched)
    np.testing.assert_allclose(denoised, recorded.array(f"{recorded.name}/tv"), rtol=0, atol=1e-11)
    for cut in case["low_high"]:
        expected = recorded.array(f"{recorded.name}/cut{cut}").astype(int)
        found = enhancing.to_8_bits(denoised, int(cut)).astype(int)
        low, high = case["low_high"][cut]
        scaled = (np.clip(denoised, low, high) - low) / (high - low) * 255
        doubtful = np.abs(scaled - np.rint(scaled)) < 1e-9
        assert (found == expected)[~doubtful].all()
        assert np.abs(found - expected).max() <= 1


@every("enhance", status=1)
def test_a_plane_that_ended_the_run_is_an_error(recorded: Recording):
    with pytest.raises(ValueError, match="without contrast"):
        enhancing.enhance(recorded.array(f"{recorded.name}/in"))


# Secondary and tertiary augmentation


def strengths_of(recorded: Recording) -> Strengths | None:
    strength = recorded.case["strength"]
    if strength == "augcfg.ini":
        return Strengths()
    if strength.endswith(".ini"):
        return Strengths.from_text((recorded.path.parent / strength).read_text(encoding="utf-8"))
    return Strengths.all_of(int(strength)) if int(strength) > 0 else None


def draws_of(case: dict, shape: tuple[int, ...]) -> secondary.Draws:
    drawn = {}
    if "noise_seed" in case:
        generator = np.random.RandomState(case["noise_seed"])  # noqa: NPY002
        drawn["noise"] = lambda deviation, size: generator.normal(0, deviation, size)
    if "elastic_seed" in case:
        seeded = np.random.RandomState(case["elastic_seed"])  # noqa: NPY002
        drawn["fields"] = [2 * seeded.rand(*shape) - 1 for _ in range(4)]
    return secondary.Draws(side=case.get("side", 0), coefficients=case.get("perspective"), **drawn)


def source_lies_inside(draws: secondary.Draws, strengths: Strengths, shape: tuple[int, ...]) -> np.ndarray:
    """Where the elastic distortion reads inside the plane; elsewhere SciPy before 1.6 mirrored in another way."""
    depth, rows, columns = shape
    first, last = secondary.displacements(draws.fields, 27 - strengths.elasticdistortion)
    y, x = np.mgrid[:rows, :columns]
    inside = np.empty(shape, bool)
    for j in range(depth):
        dx, dy = (a + j / max(1, depth - 1) * (b - a) for a, b in zip(first, last, strict=True))
        inside[j] = (y + dy >= 0) & (y + dy <= rows - 1) & (x + dx >= 0) & (x + dx <= columns - 1)
    return inside


@every("secondary")
def test_a_stack_is_augmented_as_recorded(recorded: Recording):
    case = recorded.case
    images, labels = image_of(recorded)
    strengths, draws = strengths_of(recorded), draws_of(case, images.shape[1:])
    if "error" in case:
        with pytest.raises(ValueError, match="bins"):
            secondary.augment(images, labels, case["variation"], strengths, draws)
        return
    pair = secondary.augment(images, labels, case["variation"], strengths, draws)
    compared = np.ones(images.shape, bool)
    if draws.fields and len(images) > 1:
        compared = source_lies_inside(draws, strengths, images.shape)
    for found, name in zip(pair, ("image_out", "label_out"), strict=True):
        expected = recorded.array(f"{recorded.name}/{name}")
        assert found.shape == expected.shape
        assert (found == expected)[compared].all()


@every("secondary", where=lambda r: "perspective" in r.case and strengths_of(r) is not None)
def test_the_perspective_is_that_of_the_recorded_side(recorded: Recording):
    case, strengths = recorded.case, strengths_of(recorded)
    solved = secondary.perspective(image_of(recorded)[0].shape[1:], strengths.skew, case["side"])
    np.testing.assert_allclose(solved, case["perspective"], rtol=0, atol=1e-9)


def test_fields_of_the_elastic_distortion_are_the_recorded_ones(reference):
    recorded = np.load(reference / "edition2" / "elastic_fields.npz")
    seeded = np.random.RandomState(77)  # noqa: NPY002
    first, last = secondary.displacements([2 * seeded.rand(72, 60) - 1 for _ in range(4)], 22)
    for found, name in zip((*first, *last), ("dx_first", "dy_first", "dx_last", "dy_last"), strict=True):
        np.testing.assert_allclose(found, recorded[name], rtol=0, atol=1e-9)


@every("resize")
def test_a_stack_is_resized_as_recorded(recorded: Recording):
    case = recorded.case
    images, labels = image_of(recorded)
    resized = tertiary.resize(images, labels, case["factor"])
    assert list(resized[0].shape) == case["shape"]
    assert [digest(stack) for stack in resized] == [case["img"][1], case["lbl"][1]]


@pytest.mark.parametrize("path", files("resize"), ids=lambda path: path.stem)
def test_factors_are_drawn_from_the_recorded_ranges(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    for name, expected in content["interval"].items():
        strength, direction = name.split("/")
        variation = {"down": 2, "up": 10}[direction]
        if isinstance(expected, str):
            with pytest.raises(ValueError, match="expected 0 to 10"):
                tertiary.factor_range(int(strength), variation)
        else:
            assert tertiary.factor_range(int(strength), variation) == pytest.approx(expected)
    for variation, what in content["variations"].items():
        assert (tertiary.factor_range(5, int(variation)) is None) == (what == "unchanged")


# Packages and maps


@every("packages")
def test_volumes_are_divided_as_recorded(recorded: Recording):
    height, width, depth = recorded.case["size"]
    assert [list(area) for area in dividing.areas(height, width)] == recorded.case["packages"]
    assert list(dividing.z_cuts(depth)) == recorded.case["z_blocks"]


SEEDS = {
    **{"small": 1, "small_all16": 2, "one_plane": 3, "two_planes": 3, "side12": 3, "side13": 3, "side5": 3},
    **{"s1012x1013": 4, "s1020x1024": 5, "s1000x20": 5, "u16_folder": 6, "u16_stack": 6, "u8_stack": 7},
    **{"tif_folder": 8, "tile1": 10, "tile2": 10, "tile3": 10, "tile4": 10, "zblock2": 11},
}
"""Seeds of the generated volumes (README of the recordings); the variants of every speed have 12."""


def volume_of(recorded: Recording) -> np.ndarray:
    """What CDeep3M2 reads of a package's images."""
    name, shape = recorded.name, recorded.case["shape"]
    if name == "rgb":
        plane = to_8_bit_gray(np.stack([synth(1, *shape[1:3], 9 + channel)[0] for channel in range(3)], -1))
        return np.stack([plane] * shape[0])
    volume = synth(*shape, SEEDS.get(name, 12), "uint16" if name.startswith("u16") else "uint8")
    return (volume >> 8).astype(np.uint8) if name == "u16_folder" else volume


@every("package_files", status=0)
def test_packages_are_padded_and_oriented_as_recorded(recorded: Recording):
    case = recorded.case
    y0, y1, x0, x1 = case["packages"][case["ii"] - 1]
    z0, z1 = case["z_blocks"][case["zz"] - 1 : case["zz"] + 1]
    padded = padding.canvas(volume_of(recorded)[z0:z1, y0:y1, x0:x1], top=y0 == 0, left=x0 == 0)
    stacks = {name.split("_v")[1][:-3]: value["data"] for name, value in case["files"].items() if name.endswith(".h5")}
    assert {int(i) for i in stacks} == {v.index for v in variants_for(case["model"], int(case["speed"]))}
    for i, expected in list(stacks.items())[:: max(1, len(stacks) - 1)]:
        seen = variant(variant_index(int(i))).apply(padded)
        assert described(seen.transpose(2, 1, 0)) == expected


def probability(case: dict, v: int, k: int) -> np.ndarray:
    rows, columns = case["rows"], case["cols"]
    if "probability" not in case:
        return synth(1, rows, columns, v * 1000 + k, "float32")[0]
    row, column = np.mgrid[:rows, :columns]
    formula = case["probability"].split(" in float32")[0]
    return np.float32(eval(formula, {"min": np.minimum}, {"row": row, "col": column, "v": v}))


@every("deaugment", status=0)
def test_variations_are_averaged_as_recorded(recorded: Recording):
    case = recorded.case
    planes = case["planes"]
    for name, expected in (case["files"] or {}).items():
        k = int(name.split("__")[1][:4]) + 2
        predicted = [
            restore(probability(case, v, k if v <= 8 else planes - 1 - k)[np.newaxis], variant(v).orientation)[0]
            for v in sorted(case["variants"])
        ]
        assert described(averaging.to_8_bits(averaging.mean_of_variations(predicted))) == expected


@every("merge", status=0)
def test_packages_are_merged_as_recorded(recorded: Recording):
    case = recorded.case
    for name, expected in (case["files"] or {}).items():
        if not name.startswith("Segmented"):
            continue
        k = int(name[-8:-4]) - 1
        tiles = []
        for number in range(1, len(case["packages"]) + 1):
            tile = synth(1, 1024, 1024, number * 1000 + k, case["dtype"])[0]
            tiles.append(tile % case["modulo"] if case["modulo"] else tile)
        height, width, _ = case["imagesize"]
        plane = merging.stitched(tiles, [tuple(area) for area in case["packages"]], (height, width))
        assert described(merging.to_map(plane)) == expected


INPUTS = {"e_a": (1, "uint8"), "e_b": (2, "uint8"), "e_c": (3, "uint8"), "e_u16": (4, "uint16")}


@every("ensemble", status=0)
def test_nets_are_averaged_as_recorded(recorded: Recording):
    case = recorded.case
    average = ensembling.truncated_ensemble if recorded.name.startswith("ensemble.py") else ensembling.ensemble
    for name, expected in (case.get("files") or {}).items():
        k = int(name[-8:-4]) - 1
        planes = [synth(3, 40, 50, *INPUTS[source.rstrip("2")])[k] for source in case["inputs"]]
        assert described(average(planes)) == expected


@every("overlay", where=lambda r: r.has(f"{r.name}/overlay"))
def test_overlays_are_the_recorded_ones(recorded: Recording):
    pairs = zip(recorded.array(f"{recorded.name}/seg"), recorded.array(f"{recorded.name}/raw"), strict=False)
    for (segmented, raw), expected in zip(pairs, recorded.array(f"{recorded.name}/overlay"), strict=False):
        np.testing.assert_array_equal(overlaying.overlay(segmented, raw), expected)
