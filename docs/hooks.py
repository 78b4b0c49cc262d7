"""What `make docs` does to pages: links to files of the project that are no pages become their paths."""

from __future__ import annotations

import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page whose links all lead to pages."""
    return LINK.sub(r"\1 (`\2`)", markdown)
