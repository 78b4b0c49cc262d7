"""The rooms of the package and who may import whom; `python -m rooms` draws them (docs/layers.svg)."""

from __future__ import annotations

import sys
from pathlib import Path

LAYERS = """
    cli
    api
    report
    evaluation objects preprocessing models
    prediction training
    runners
    runs
    engines
    maps augmentation
    volumes
    tiling nets
    edition2
    matlab_ports proto caffe_models
    system
    errors geometry rules
"""
"""Imports point down; neighbours on a line do not import each other."""

INSIDE = {
    "engines": """
        select doctor
        embedded docker local identity
        tools
        images job_files averages
        patches
        nvidia base measured
        learning
    """,
    "engines.embedded": """
        engine
        build
        prediction training denoising
        fast
        net
    """,
    "engines.docker": """
        engine
        containers
        contents
        daemon
    """,
    "volumes": """
        enhanced
        open labelled as_edition_2
        image_folder remote
        tiff_series hdf5_layouts
        png tiff hdf5 z_fastest mrc zarr n5 precomputed
        chunked ome_zarr bigdataviewer
        planes tiff_codecs tiff_promises values
        labels listing samples tiff_directories identity crop chunk_files kept_planes
        base formats gray names stores
        address arrays
        axes
        units damage mapped synthetic enhancement
    """,
    "maps": """
        copying
        open
        ome_zarr_04 ome_zarr_sharded
        ome_zarr n5 precomputed mrc hdf5 tif
        one_file
        chunked
        png_folder
        progress
        pyramid agreement base
    """,
    "prediction": """
        estimate plan
        run
        run_as_edition_2
        elsewhere facts comparing
        streaming
        over_files as_edition_2
        core
        reading
    """,
    "tiling": """
        info_file stitching
        grid
        packages variants boxes blending
    """,
}
"""The same rule inside the rooms that hold several."""

MEANING = {
    "cli": "commands",
    "report": "pages, pictures",
    "evaluation": "what follows",
    "training": "whole jobs",
    "runners": "where boxes run",
    "runs": "folders on disk",
    "engines": "what runs nets",
    "maps": "out",
    "volumes": "in",
    "tiling": "tiling, nets",
    "edition2": "2nd edition",
    "proto": "formats, ports",
    "system": "system",
    "errors": "ground",
}
"""What the line with this room is for."""

WIDTH, LEFT, ROW = 960, 150, 42
COLOURS = ("#dbe9f6", "#dbe9f6", "#e3f1e0", "#e3f1e0", "#fbeeda", "#fbeeda", "#fbeeda", "#fbeeda")
GROUND = "#eeeaf4"


def levels(picture: str) -> dict[str, int]:
    return {name: level for level, line in enumerate(picture.strip().splitlines()) for name in line.split()}


def picture() -> str:
    """Return the layers as an SVG page."""
    lines = [line.split() for line in LAYERS.strip().splitlines()]
    height = 60 + ROW * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-label="Layers of the package">',
        '  <style>\n    text { font-family: "DejaVu Sans", Verdana, sans-serif; fill: #1c2630; font-size: 13px; }\n'
        "    .h { font-size: 17px; font-weight: bold; }\n    .n { font-style: italic; fill: #55636f; }\n  </style>",
        f'  <rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '  <text x="24" y="34" class="h">Layers: imports point down</text>',
    ]
    for row, names in enumerate(lines):
        top = 52 + ROW * row
        meaning = next((MEANING[name] for name in names if name in MEANING), "")
        parts.append(f'  <text x="24" y="{top + 22}" class="n">{meaning}</text>')
        width = (WIDTH - 24 - LEFT - 8 * (len(names) - 1)) / len(names)
        colour = COLOURS[row] if row < len(COLOURS) else GROUND
        for column, name in enumerate(names):
            left = LEFT + column * (width + 8)
            parts.append(
                f'  <rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="34" rx="6" fill="{colour}" '
                'stroke="#5b6b7b"/>'
            )
            parts.append(
                f'  <text x="{left + width / 2:.1f}" y="{top + 22}" class="m" text-anchor="middle">{name}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(), encoding="utf-8")
