"""A web server for a folder that gives parts of files, as shards need them; Python's own ignores what is asked for."""

from __future__ import annotations

import re
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler
from pathlib import Path


class Ranges(SimpleHTTPRequestHandler):
    """Gives files, or the part of one that is asked for, to pages of any origin."""

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        values = path.read_bytes()
        first, last = asked.groups()
        begin = int(first) if first else max(0, len(values) - int(last))
        end = min(int(last) + 1, len(values)) if first and last else len(values)
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(values)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        self.wfile.write(values[begin:end])

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Range")
        self.send_header("Access-Control-Expose-Headers", "Content-Range")
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        """Let a page of another origin ask for parts."""
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
