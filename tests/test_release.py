"""The files of a release, without building one: `make release-check` builds and installs it."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from docker_images import CONTEXT

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "release.yml").read_text()
RELEASE = SimpleNamespace(**runpy.run_path(str(ROOT / ".ci" / "release.py")))
DIGEST = "5" * 64


def steps() -> list[str]:
    """Shell scripts of the workflow."""
    jobs = yaml.safe_load(WORKFLOW)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_versions_and_links_are_right_now():
    RELEASE.check_versions()
    RELEASE.check_links()


def test_archive_holds_what_a_machine_installs_from():
    manifest = (ROOT / "MANIFEST.in").read_text().split()
    for name in CONTEXT:
        assert name in manifest or name in ("pyproject.toml", "python", ".dockerignore"), name
    for name in RELEASE.NEEDED_BY_MACHINES:
        assert (ROOT / name).is_file()


def test_template_of_a_release_knows_its_archive():
    template = (ROOT / "docker" / "cloud" / "cdeep3m.yaml").read_text()
    filled = RELEASE.with_defaults(template, {"ArchiveSha256": DIGEST, "Archive": "https://releases.example/x.tar.gz"})
    assert filled.count("Default:") == template.count("Default:") + 2
    assert re.search(rf'^  ArchiveSha256:\n(    .*\n)*    Default: "{DIGEST}"\n', filled, re.MULTILINE)
    assert RELEASE.with_defaults(template, {"Archive": ""}) == template


def test_template_without_the_parameter_is_an_error():
    with pytest.raises(RELEASE.ReleaseError, match="0 parameters Archive"):
        RELEASE.with_defaults("Parameters:\n", {"Archive": "https://releases.example/x.tar.gz"})


@pytest.mark.parametrize("words", [[], ["everything"], ["check", "a", "b"]])
def test_wrong_usage_is_no_release(words, capsys):
    assert RELEASE.main(words) == 1
    assert capsys.readouterr().err.startswith("usage: ")


def test_workflow_runs_what_can_be_run_here():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = re.findall(r"\bmake ([a-z-]+)", "\n".join(steps()))
    assert made
    assert {*made} <= targets
    assert any(".ci/run" in step for step in steps())


def test_workflow_publishes_images_by_digest_hashes_and_components():
    text = "\n".join(steps())
    for words in ("--sbom=true", "--provenance=true", "containerimage.digest", "sha256sum", "gh release create"):
        assert words in text


def test_workflow_s_steps_are_shell():
    for step in steps():
        script = re.sub(r"\$\{\{.*?\}\}", "x", step)
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_workflow_names_no_secret_and_may_write_no_more_than_a_release():
    assert yaml.safe_load(WORKFLOW)["permissions"] == {"contents": "write"}
    assert {*re.findall(r"secrets\.(\w+)", WORKFLOW)} == {"REGISTRY_USER", "REGISTRY_TOKEN", "INDEX_TOKEN"}
