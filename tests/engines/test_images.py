"""Which images are known, which GPUs they run on, and what each is pinned to."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdeep3m.engines.images import Image, Lock, config_folder, find_image, known_images
from cdeep3m.engines.nvidia import Gpu
from cdeep3m.errors import FormatError, InputError
from fake_docker import digest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("CDEEP3M_IMAGE", raising=False)
    (tmp_path / "cdeep3m").mkdir()
    return tmp_path / "cdeep3m"


def gpu(capability):
    return Gpu(index=0, name="Some GPU", memory=16000, driver="535.183.01", capability=capability)


def test_authors_image_has_cuda_9_and_its_gpus():
    image = known_images()["ncmir/cdeep3m"]
    assert (image.reference, image.cuda, image.oldest, image.newest) == (
        *("ncmir/cdeep3m:latest", (9, 0)),
        *((3, 0), (7, 0)),
    )
    assert image.tools.endswith("/.build_release/tools")


def test_list_in_the_clone_s_docker_folder_is_the_one_that_is_installed():
    shipped = ROOT / "python" / "cdeep3m" / "engines" / "images.toml"
    assert (ROOT / "docker" / "images.toml").samefile(shipped)


@pytest.mark.parametrize("capability", [(3, 0), (5, 2), (7, 0), None])
def test_gpus_that_the_image_s_cuda_knows_are_not_stopped(capability):
    assert find_image("ncmir/cdeep3m").stops(gpu(capability)) == ""


@pytest.mark.parametrize(
    ("capability", "why"), [((7, 5), "too new"), ((9, 0), "too new"), ((12, 0), "too new"), ((2, 1), "too old")]
)
def test_other_gpus_are_stopped_with_a_remedy(capability, why):
    said = find_image("ncmir/cdeep3m").stops(gpu(capability))
    assert why in said
    assert "use --" in said
    assert "its CUDA 9 knows" in said


def test_an_image_of_unknown_needs_stops_nothing():
    assert find_image("lab/caffe").stops(gpu((12, 0))) == ""


def test_default_is_the_project_s_own_or_what_the_environment_says(monkeypatch):
    assert find_image().name == "cdeep3m"
    monkeypatch.setenv("CDEEP3M_IMAGE", "ncmir/cdeep3m")
    assert find_image().cuda == (9, 0)


@pytest.mark.parametrize("name", ["ncmir/cdeep3m", "ncmir/cdeep3m:latest", f"ncmir/cdeep3m@{digest('b')}"])
def test_known_image_is_found_by_all_its_names(name):
    assert find_image(name).newest == (7, 0)


def test_name_with_a_digest_is_pinned_by_itself():
    name = f"ncmir/cdeep3m@{digest('b')}"
    assert Lock().pin_of(find_image(name)) == name
    with pytest.raises(InputError, match="nothing to pin"):
        Lock().pin(find_image(name), digest("c"))


@pytest.mark.parametrize("name", ["two words", "a@sha256:12", "-;rm", "a\nb"])
def test_what_is_no_image_s_name_is_refused(name):
    with pytest.raises(InputError, match="no image's name"):
        find_image(name)


def test_site_describes_images_of_its_own_and_others_anew(config):
    (config / "images.toml").write_text(
        '["gpu.example.org/caffe:8"]\ntools = "/opt/caffe/tools"\ncuda = "8.0"\nnewest = "6.1"\n'
        '["ncmir/cdeep3m"]\ntools = "/elsewhere"\n'
    )
    assert find_image("gpu.example.org/caffe:8") == Image(
        name="gpu.example.org/caffe:8",
        reference="gpu.example.org/caffe:8",
        tools="/opt/caffe/tools",
        cuda=(8, 0),
        newest=(6, 1),
    )
    assert find_image("ncmir/cdeep3m").tools == "/elsewhere"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a\n", "no readable TOML"),
        ("a = 1\n", "table of texts"),
        ("[a]\ncuda = 9\n", "table of texts"),
        ('[a]\ncuda = "nine"\n', "'nine'; expected a version"),
        ('[a]\ntool = "x"\n', "has tool; expected reference"),
    ],
)
def test_wrong_list_of_a_site_is_one_line(config, text, said):
    (config / "images.toml").write_text(text)
    with pytest.raises(FormatError, match=said) as caught:
        known_images()
    assert "\n" not in str(caught.value)
    assert str(config / "images.toml") in str(caught.value)


def test_pins_are_kept_by_reference_until_they_are_taken_back():
    ours, theirs = find_image("cdeep3m"), find_image("ncmir/cdeep3m")
    Lock().pin(ours, digest("a"))
    Lock().pin(theirs, f"ncmir/cdeep3m@{digest('b')}")
    assert Lock().pins() == {"cdeep3m:latest": digest("a"), "ncmir/cdeep3m:latest": f"ncmir/cdeep3m@{digest('b')}"}
    assert Lock().unpin(ours)
    assert not Lock().unpin(ours)
    assert Lock().pin_of(ours) == ""
    assert Lock().path == config_folder() / "images.lock"


@pytest.mark.parametrize("content", ["latest", "sha256:abc", f"md5:{'a' * 64}"])
def test_what_is_no_digest_is_not_pinned(content):
    with pytest.raises(InputError, match="no digest"):
        Lock().pin(find_image(), content)
    assert not Lock().path.exists()


@pytest.mark.parametrize("text", ['"a" = "latest"\n', '"a" = 3\n', "a = \n"])
def test_damaged_lock_is_one_line_that_names_it(config, text):
    (config / "images.lock").write_text(text)
    with pytest.raises(FormatError, match=r"images\.lock"):
        Lock().pins()
