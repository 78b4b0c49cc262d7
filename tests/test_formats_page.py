"""Every cell of the table in docs/formats.md is a claim, and every claim is a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPS, ADDRESSES = "tests/maps/test_formats.py::", "tests/volumes/test_addresses.py::"
S3, SECOND = "tests/system/test_s3.py::", "tests/system/test_second_implementations.py::"
STORES, HDF5, MRC = (f"tests/volumes/test_{name}.py::" for name in ("chunked_stores", "hdf5_layouts", "mrc"))
SERIES = "tests/volumes/test_tiff_series.py::"
COLUMNS = ("in", "out", "S3, web", "voxel size, unit, offset", "pyramid", "read by, in tests", "written by, in tests")


def of(name: str, made: str, *, out: str | None = None) -> dict[str, list[str]]:
    """Return the tests that formats share: `made` in the suite of volumes, `out` in that of maps."""
    out = out or name
    return {
        "in": [f"{ADDRESSES}test_every_format_reads_every_box[{made}]"],
        "out": [f"{MAPS}test_what_is_written_is_read_back[{out}-uint8]"],
        "S3, web": [f"{ADDRESSES}test_a_format_of_files_is_not_on_s3[{made}]"],
        "voxel size, unit, offset": [f"{MAPS}test_voxel_size_unit_and_offset_are_kept[{out}]"],
        "pyramid": [f"{ADDRESSES}test_a_format_without_levels_refuses_another_one[{made}]"],
    }


def chunked(name: str, made: str) -> dict[str, list[str]]:
    """Return the same for a format of chunks."""
    return of(name, made) | {
        "S3, web": [
            f"{S3}test_every_chunked_format_goes_to_s3_and_comes_back[{name}-{name.split('-')[-1]}]",
            f"{S3}test_a_prediction_goes_straight_to_s3[{name}]",
            f"{S3}test_a_volume_is_read_over_http",
        ],
        "pyramid": [
            f"{MAPS}test_levels_are_means_and_lie_where_they_belong[{name}]",
            f"{MAPS}test_levels_are_made_as_boxes_finish[{name}]",
        ],
    }


CLAIMS: dict[str, dict[str, list[str]]] = {
    "PNG folder": of("png", "png")
    | {
        "voxel size, unit, offset": [f"{MAPS}test_png_images_keep_no_voxel_size"],
        "read by, in tests": [f"{SECOND}test_pillow_reads_ours"],
        "written by, in tests": [f"{ADDRESSES}test_every_format_reads_every_box[png]"],
    },
    "TIFF folder": of("tif", "tif_folder")
    | {
        "out": [f"{MAPS}test_a_folder_of_tiff_images_is_not_written"],
        "voxel size, unit, offset": [f"{ADDRESSES}test_every_format_reads_every_box[tif_folder]"],
        "written by, in tests": [f"{ADDRESSES}test_every_format_reads_every_box[tif_folder]"],
    },
    "TIFF stack": of("tif", "tif")
    | {
        "voxel size, unit, offset": [
            f"{MAPS}test_voxel_size_unit_and_offset_are_kept[tif]",
            f"{MAPS}test_an_offset_that_ome_tiff_cannot_keep_is_said",
            f"{SERIES}test_imagej_s_voxel_size_is_read",
            f"{SERIES}test_ome_s_voxel_size_is_read",
        ],
        "pyramid": [f"{SERIES}test_levels_of_an_ome_tiff_are_read"],
        "read by, in tests": [f"{SECOND}test_tifffile_reads_ours"],
        "written by, in tests": [f"{ADDRESSES}test_every_format_reads_every_box[ome_tif]"],
    },
    "HDF5": of("h5", "h5")
    | {
        "pyramid": [f"{HDF5}test_bigdataviewer_s_levels_and_times_are_found"],
        "read by, in tests": [f"{SECOND}test_h5py_reads_ours"],
        "written by, in tests": [
            f"{HDF5}test_ilastik_s_axis_tags_count[zyx]",
            f"{HDF5}test_cremi_says_its_resolution_along_z_y_x",
            f"{HDF5}test_fiji_s_element_size_is_read",
            f"{HDF5}test_bigdataviewer_s_levels_and_times_are_found",
        ],
    },
    "MRC": of("mrc", "mrc")
    | {
        "read by, in tests": [f"{SECOND}test_mrcfile_reads_ours"],
        "written by, in tests": [
            f"{MRC}test_every_mode_is_read[int16-int16]",
            f"{MRC}test_voxel_size_and_origin_are_in_angstrom",
        ],
    },
    "OME-Zarr 0.5, 0.4": {
        column: [*chunked("ome-zarr", "ome_zarr")[column], *chunked("ome-zarr-0.4", "ome_zarr")[column]]
        for column in COLUMNS[:5]
    }
    | {
        "S3, web": [
            *(
                f"{S3}test_every_chunked_format_goes_to_s3_and_comes_back[{name}-zarr]"
                for name in ("ome-zarr", "ome-zarr-0.4")
            ),
            f"{S3}test_a_prediction_goes_straight_to_s3[ome-zarr]",
            f"{S3}test_a_volume_is_read_over_http",
        ],
        "read by, in tests": [
            f"{MAPS}test_metadata_of_ome_zarr_are_valid[ome-zarr-0.5]",
            f"{SECOND}test_zarr_python_reads_our_levels[uint16-ome-zarr]",
            f"{SECOND}test_ome_zarr_models_find_our_metadata_valid[ome-zarr-0.4-v04]",
        ],
        "written by, in tests": [
            f"{STORES}TestOmeZarr::test_level_voxel_size_and_offset_are_those_of_the_metadata[0.5-zarr3]",
            f"{SECOND}test_the_broken_metadata_of_ome_zarr_are_refused",
        ],
    },
    "Zarr 2, 3, in shards too": {
        "in": [
            f"{SECOND}test_zarr_python_s_arrays_are_read[options2-3]",
            f"{STORES}TestPlainZarr::test_takes_dimension_names_for_axes",
        ],
        "out": [f"{MAPS}test_what_is_written_is_read_back[ome-zarr-sharded-uint8]"],
        "S3, web": [f"{S3}test_every_chunked_format_goes_to_s3_and_comes_back[ome-zarr-sharded-zarr]"],
        "voxel size, unit, offset": [f"{STORES}TestPlainZarr::test_is_read_as_the_axes_say[zarr3]"],
        "pyramid": [f"{STORES}TestPlainZarr::test_has_no_levels"],
        "read by, in tests": [f"{SECOND}test_zarr_python_reads_our_levels[uint16-ome-zarr-sharded]"],
        "written by, in tests": [
            f"{STORES}TestPlainZarr::test_with_shards_tells_the_inner_chunks",
            f"{SECOND}test_zarr_python_s_arrays_are_read[options2-3]",
        ],
    },
    "N5": chunked("n5", "n5")
    | {
        "read by, in tests": [f"{SECOND}test_z5py_reads_our_n5"],
        "written by, in tests": [f"{STORES}TestN5::test_is_read_along_x_y_z", f"{SECOND}test_z5py_s_arrays_are_read"],
    },
    "precomputed": chunked("precomputed", "precomputed")
    | {
        "read by, in tests": [f"{SECOND}test_cloud_volume_reads_our_precomputed"],
        "written by, in tests": [
            f"{STORES}TestPrecomputed::test_is_read_with_its_size_and_offset_at_every_level",
            f"{SECOND}test_cloud_volume_s_volumes_are_read[raw]",
        ],
    },
}


def table() -> dict[str, dict[str, str]]:
    """The table of the page: what it says of each format, by column."""
    lines = [line for line in (ROOT / "docs" / "formats.md").read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = rows
    assert tuple(head[1:]) == COLUMNS
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body if len(row) == len(head)}


@pytest.fixture(scope="module")
def tests() -> set[str]:
    files = sorted({name.split("::")[0] for row in CLAIMS.values() for cell in row.values() for name in cell})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    return {line for line in found.stdout.splitlines() if "::" in line}


def test_every_cell_of_the_table_is_a_test(tests: set[str]) -> None:
    said = table()
    assert set(said) == set(CLAIMS)
    for name, row in said.items():
        for column, claim in row.items():
            mapped = CLAIMS[name].get(column, [])
            assert bool(claim) == bool(mapped), f"{name}, {column}: the table says {claim!r}, tests are {mapped}"
            for one in mapped:
                assert one in tests, f"{name}, {column}: {one} is no test"
