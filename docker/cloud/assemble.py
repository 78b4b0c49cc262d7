#!/usr/bin/env python3
"""Write boot.py into cloud-init.yaml, and that into the user data of cdeep3m.yaml: `make cloud`.

Both stay whole in the files that a reader copies; a test compares them with their sources.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

CLOUD = Path(__file__).resolve().parent

SETTINGS = {
    "archive": "${Archive}",
    "sha256": "${ArchiveSha256}",
    "image": "${Image}",
    "device": "${Device}",
    "package_index": "${PackageIndex}",
    "bucket": "${Bucket}",
    "endpoint": "",
    "spot": "${IsSpot}",
    "idle_minutes": "${IdleMinutes}",
    "signal": "${Handle}",
}
"""Settings of cloud-init.yaml, each as the template's parameter fills it in."""

BOOT = (
    r"(?<=cdeep3m-boot\n    permissions: \"0755\"\n    content: \|\n).*?(?=^  - path: /var/lib/cloud/scripts/per-boot/)"
)
JSON = r"(?<=    content: \|\n)      \{.*?\n      \}\n"
USER_DATA = r"(?<=          Fn::Sub:\n            - \|\n).*?(?=^            - Device:)"


def cloud_init(text: str, boot: str) -> str:
    """Return cloud-init.yaml with boot.py in it."""
    return replace(BOOT, indented(boot, 6), text)


def template(text: str, config: str) -> str:
    """Return the template with cloud-init.yaml as its user data, which takes its settings from the parameters."""
    filled = (
        json.dumps(SETTINGS, indent=2).replace('"${IsSpot}"', "${IsSpot}").replace('"${IdleMinutes}"', "${IdleMinutes}")
    )
    config = replace(JSON, indented(filled + "\n", 6), config)
    config = re.sub(r"^# (?!!).*\n", "", config.replace("#cloud-config\n", "#!cloud-config\n"), flags=re.MULTILINE)
    return replace(USER_DATA, indented(config.replace("#!cloud-config\n", "#cloud-config\n"), 14), text)


def indented(text: str, width: int) -> str:
    """Return a text with every line that is not empty moved to the right."""
    return textwrap.indent(text, " " * width)


def replace(pattern: str, by: str, text: str) -> str:
    """Replace the one place in `text` that `pattern` finds."""
    changed, count = re.subn(pattern, lambda _: by, text, flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        raise ValueError(f"expected one place of {pattern}, found {count}")
    return changed


def main() -> int:
    """Write both files anew."""
    config, stack = CLOUD / "cloud-init.yaml", CLOUD / "cdeep3m.yaml"
    config.write_text(cloud_init(config.read_text(), (CLOUD / "boot.py").read_text()))
    stack.write_text(template(stack.read_text(), config.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
