"""Every cell of the table in docs/formats.md is a claim, and every claim is a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPS, ADDRESSES = "tests/maps/test_formats.py::", "tests/volumes/test_addresses.py::"
S3, SECOND = "tests/system/test_s3.py::", "tests/system/test_second_implementations.py::"
STORES, HDF5, MRC = (f"tests/volumes/test_{name}.py::" for name in ("chunked_stores", "hdf5_layouts", "mrc"))
SERIES = "tests/volumes/test_tiff_series.py::"
TYPES = ("uint8", "uint16", "float32")
COLUMNS = ("in", "out", "S3, web", "voxel size, unit, offset", "pyramid", "read by, in tests", "written by, in tests")


Claims = dict[str, list[str]]
"""What a cell says, in its own words, and the tests that show it."""
NO = f"{MAPS}test_png_images_keep_no_voxel_size"


def of(name: str, made: str, *, out: str | None = None) -> dict[str, Claims]:
    """Return the tests that formats share: `made` in the suite of volumes, `out` in that of maps."""
    out = out or name
    return {
        "in": {"yes": [f"{ADDRESSES}test_every_format_reads_every_box[{made}]"]},
        "out": {"yes": [f"{MAPS}test_what_is_written_is_read_back[{out}-{dtype}]" for dtype in TYPES]},
        "S3, web": {"no": [f"{ADDRESSES}test_a_format_of_files_is_not_on_s3[{made}]"]},
        "voxel size, unit, offset": {"yes": [f"{MAPS}test_voxel_size_unit_and_offset_are_kept[{out}]"]},
        "pyramid": {"no": [f"{ADDRESSES}test_a_format_without_levels_refuses_another_one[{made}]"]},
    }


def chunked(name: str, made: str, suffix: str) -> dict[str, Claims]:
    """Return the same for a format of chunks."""
    return of(name, made) | {
        "S3, web": {
            "yes": [
                f"{S3}test_every_chunked_format_goes_to_s3_and_comes_back[{name}-{suffix}]",
                f"{S3}test_a_prediction_goes_straight_to_s3[{name}]",
                f"{S3}test_a_volume_is_read_over_http[{name}]",
            ]
        },
        "pyramid": {
            "yes": [
                f"{MAPS}test_levels_are_means_and_lie_where_they_belong[{name}]",
                f"{MAPS}test_levels_are_made_as_boxes_finish[{name}]",
            ]
        },
    }


def both(one: dict[str, Claims], other: dict[str, Claims]) -> dict[str, Claims]:
    """Return what holds for two formats in one row."""
    return {column: {words: [*tests, *other[column][words]] for words, tests in one[column].items()} for column in one}


CLAIMS: dict[str, dict[str, Claims]] = {
    "PNG folder": of("png", "png")
    | {
        "out": {"yes": [f"{MAPS}test_what_is_written_is_read_back[png-uint8]"]},
        "voxel size, unit, offset": {"none": [NO]},
        "read by, in tests": {"Pillow": [f"{SECOND}test_pillow_reads_ours"]},
        "written by, in tests": {"Pillow": [f"{ADDRESSES}test_every_format_reads_every_box[png]"]},
    },
    "TIFF folder": of("tif", "tif_folder")
    | {
        "out": {"no": [f"{MAPS}test_a_folder_of_tiff_images_is_not_written"]},
        "voxel size, unit, offset": {"none": [f"{ADDRESSES}test_every_format_reads_every_box[tif_folder]"]},
        "read by, in tests": {},
        "written by, in tests": {"tifffile": [f"{ADDRESSES}test_every_format_reads_every_box[tif_folder]"]},
    },
    "TIFF stack": of("tif", "tif")
    | {
        "voxel size, unit, offset": {
            "yes": [
                f"{MAPS}test_voxel_size_unit_and_offset_are_kept[tif]",
                f"{SERIES}test_imagej_s_voxel_size_is_read",
                f"{SERIES}test_ome_s_voxel_size_is_read",
            ],
            "OME-TIFF: no offset": [f"{MAPS}test_an_offset_that_ome_tiff_cannot_keep_is_said"],
        },
        "pyramid": {"read": [f"{SERIES}test_levels_of_an_ome_tiff_are_read"]},
        "read by, in tests": {"tifffile": [f"{SECOND}test_tifffile_reads_ours"]},
        "written by, in tests": {
            "tifffile": [
                f"{ADDRESSES}test_every_format_reads_every_box[ome_tif]",
                f"{SERIES}test_the_channel_and_time_that_are_asked_for_are_read[imagej]",
                f"{SERIES}test_any_order_of_an_ome_tiff_reads_the_same[TCZYX]",
            ]
        },
    },
    "HDF5": of("h5", "h5")
    | {
        "pyramid": {
            "read": [f"{HDF5}test_bigdataviewer_s_levels_and_times_are_found"],
            "BigDataViewer": [f"{HDF5}test_bigdataviewer_s_levels_and_times_are_found"],
        },
        "read by, in tests": {"h5py": [f"{SECOND}test_h5py_reads_ours"]},
        "written by, in tests": {
            "h5py": [f"{ADDRESSES}test_every_format_reads_every_box[h5]"],
            "in the layouts of ilastik": [
                *(f"{HDF5}test_ilastik_s_axis_tags_count[{axes}]" for axes in ("zyx", "xyz", "yzx")),
                f"{HDF5}test_of_several_channels_one_is_chosen",
            ],
            "CREMI": [f"{HDF5}test_cremi_says_its_resolution_along_z_y_x"],
            "Fiji": [f"{HDF5}test_fiji_s_element_size_is_read"],
            "BigDataViewer": [
                f"{HDF5}test_bigdataviewer_s_levels_and_times_are_found",
                f"{HDF5}test_bigdataviewer_s_setups_beyond_99_are_found",
            ],
        },
    },
    "MRC": of("mrc", "mrc")
    | {
        "voxel size, unit, offset": {
            "yes": [f"{MAPS}test_voxel_size_unit_and_offset_are_kept[mrc]"],
            "in ångström": [f"{MRC}test_voxel_size_and_origin_are_in_angstrom"],
        },
        "read by, in tests": {"mrcfile": [f"{SECOND}test_mrcfile_reads_ours"]},
        "written by, in tests": {
            "mrcfile": [
                f"{MRC}test_every_mode_is_read[{stored}-{read}]"
                for stored, read in (
                    ("int8", "int8"),
                    ("int16", "int16"),
                    ("float32", "float32"),
                    ("uint16", "uint16"),
                    ("float16", "float32"),
                )
            ]
        },
    },
    "OME-Zarr 0.5, 0.4": both(chunked("ome-zarr", "ome_zarr", "zarr"), chunked("ome-zarr-0.4", "ome_zarr", "zarr"))
    | {
        "read by, in tests": {
            "yaozarrs": [
                f"{MAPS}test_metadata_of_ome_zarr_are_valid[ome-zarr-0.5]",
                f"{MAPS}test_metadata_of_ome_zarr_are_valid[ome-zarr-0.4-0.4]",
            ],
            "ome-zarr-models": [
                f"{SECOND}test_ome_zarr_models_find_our_metadata_valid[ome-zarr-v05]",
                f"{SECOND}test_ome_zarr_models_find_our_metadata_valid[ome-zarr-0.4-v04]",
            ],
            "zarr-python": [
                f"{SECOND}test_zarr_python_reads_our_levels[{dtype}-{name}]"
                for name in ("ome-zarr", "ome-zarr-0.4")
                for dtype in TYPES
            ],
        },
        "written by, in tests": {
            "tensorstore": [
                f"{STORES}TestOmeZarr::test_level_voxel_size_and_offset_are_those_of_the_metadata[0.5-zarr3]",
                f"{STORES}TestOmeZarr::test_level_voxel_size_and_offset_are_those_of_the_metadata[0.4-zarr2]",
            ],
            "zarr-python": [
                f"{SECOND}test_zarr_python_s_ome_zarr_is_read[2]",
                f"{SECOND}test_zarr_python_s_ome_zarr_is_read[3]",
            ],
        },
    },
    "Zarr 2, 3, in shards too": {
        "in": {
            "yes": [
                f"{SECOND}test_zarr_python_s_arrays_are_read[options0-2]",
                f"{SECOND}test_zarr_python_s_arrays_are_read[options0-3]",
                f"{SECOND}test_zarr_python_s_arrays_are_read[options2-3]",
                f"{STORES}TestPlainZarr::test_takes_dimension_names_for_axes",
            ]
        },
        "out": {
            "as OME-Zarr": [f"{MAPS}test_what_is_written_is_read_back[ome-zarr-sharded-{dtype}]" for dtype in TYPES]
        },
        "S3, web": {
            "yes": [
                f"{S3}test_plain_arrays_are_read_from_s3_and_the_web[zarr]",
                f"{S3}test_plain_arrays_are_read_from_s3_and_the_web[zarr3]",
                f"{S3}test_plain_arrays_are_read_from_s3_and_the_web[sharded]",
                f"{S3}test_every_chunked_format_goes_to_s3_and_comes_back[ome-zarr-sharded-zarr]",
                f"{S3}test_a_prediction_goes_straight_to_s3[ome-zarr-sharded]",
            ]
        },
        "voxel size, unit, offset": {
            "none": [f"{STORES}TestPlainZarr::test_is_read_as_the_axes_say[{write}]" for write in ("zarr2", "zarr3")]
        },
        "pyramid": {"no": [f"{STORES}TestPlainZarr::test_has_no_levels"]},
        "read by, in tests": {
            "zarr-python": [f"{SECOND}test_zarr_python_reads_our_levels[{dtype}-ome-zarr-sharded]" for dtype in TYPES]
        },
        "written by, in tests": {
            "tensorstore": [f"{STORES}TestPlainZarr::test_with_shards_tells_the_inner_chunks"],
            "zarr-python": [
                f"{SECOND}test_zarr_python_s_arrays_are_read[options2-3]",
                *(
                    f"{SECOND}test_numcodecs_compressors_of_zarr_2_are_read[{codec}]"
                    for codec in ("gzip", "zstd", "lz4", "bz2")
                ),
            ],
        },
    },
    "N5": chunked("n5", "n5", "n5")
    | {
        "read by, in tests": {"z5py": [f"{SECOND}test_z5py_reads_our_n5"]},
        "written by, in tests": {
            "tensorstore": [f"{STORES}TestN5::test_is_read_along_x_y_z"],
            "z5py": [f"{SECOND}test_z5py_s_arrays_are_read"],
        },
    },
    "precomputed": chunked("precomputed", "precomputed", "precomputed")
    | {
        "voxel size, unit, offset": {
            "yes": [f"{MAPS}test_voxel_size_unit_and_offset_are_kept[precomputed]"],
            "in nm": [f"{STORES}TestPrecomputed::test_is_read_with_its_size_and_offset_at_every_level"],
        },
        "read by, in tests": {"cloud-volume": [f"{SECOND}test_cloud_volume_reads_our_precomputed"]},
        "written by, in tests": {
            "tensorstore": [
                f"{STORES}TestPrecomputed::test_is_read_with_its_size_and_offset_at_every_level",
                f"{SECOND}test_a_sharded_precomputed_volume_is_read",
            ],
            "cloud-volume": [
                f"{SECOND}test_cloud_volume_s_volumes_are_read[raw]",
                f"{SECOND}test_cloud_volume_s_volumes_are_read[compressed_segmentation]",
            ],
        },
    },
}


def table() -> dict[str, dict[str, str]]:
    """The table of the page: what it says of each format, by column."""
    lines = [line for line in (ROOT / "docs" / "formats.md").read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = rows
    assert tuple(head[1:]) == COLUMNS
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


def mapped_tests() -> set[str]:
    return {one for row in CLAIMS.values() for cell in row.values() for ones in cell.values() for one in ones}


@pytest.fixture(scope="module")
def tests() -> set[str]:
    files = sorted({name.split("::")[0] for name in mapped_tests()})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    return {line for line in found.stdout.splitlines() if "::" in line}


def claims_of(cell: str) -> list[str]:
    """What a cell claims, piece by piece: the words between commas and brackets, those that begin them left out.

    >>> claims_of("yes (OME-TIFF: no offset)"), claims_of("h5py, in the layouts of ilastik, CREMI"), claims_of("")
    (['yes', 'OME-TIFF: no offset'], ['h5py', 'in the layouts of ilastik', 'CREMI'], [])
    """
    return [piece.strip() for piece in re.split(r"[,()]", cell) if piece.strip()]


def unclaimed(said: dict[str, dict[str, str]], tests: set[str]) -> list[str]:
    """What a table says, or does not, that differs from what tests show."""
    found = [f"the row {name} is in one of them only" for name in set(said) ^ set(CLAIMS)]
    for name, row in said.items():
        for column, cell in row.items():
            mapped = CLAIMS.get(name, {}).get(column, {})
            if claims_of(cell) != list(mapped):
                found.append(f"{name}, {column}: the table says {claims_of(cell)}, tests show {list(mapped)}")
            found += [f"{name}, {column}: no test shows {words!r}" for words, ones in mapped.items() if not ones]
            found += [f"{name}, {column}: {one} is no test" for ones in mapped.values() for one in set(ones) - tests]
    return found


def test_every_cell_of_the_table_is_a_test(tests: set[str]) -> None:
    said = table()
    assert all(len(row) == len(COLUMNS) for row in said.values())
    assert unclaimed(said, tests) == []


def test_a_table_that_says_more_or_less_is_found(tests: set[str]) -> None:
    for name, row in table().items():
        for column, cell in row.items():
            changes = ["", f"{cell}, Fiji", cell.replace("no", "yes") if "no" in cell else "no", cell.swapcase()]
            for other in {change for change in changes if change != cell}:
                assert unclaimed(table() | {name: row | {column: other}}, tests), (name, column, other)
    assert unclaimed({name: row for name, row in table().items() if name != "MRC"}, tests)
    assert unclaimed(table() | {"Imaris": table()["HDF5"]}, tests)


def test_a_claim_without_a_test_is_found(tests: set[str]) -> None:
    for lost in mapped_tests():
        assert unclaimed(table(), tests - {lost}), lost


def test_tests_that_are_mapped_are_run(tests: set[str]) -> None:
    """What `make test` does not run, `make test-system` does: nothing of it is heavy or left to a hand."""
    mapped = {one.split("::")[0] for one in mapped_tests()}
    run_there = re.search(r"^test-system:.*\n(?:\t.*\n)+", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert run_there
    for path in mapped:
        text = (ROOT / path).read_text()
        assert "pytest.mark.heavy" not in text
        assert ("pytest.mark.system" in text) == (path in run_there[0]), path
