"""`cdeep3m models`, as it is typed."""

from __future__ import annotations

import socket
import subprocess
import sys
from urllib.error import URLError

import pytest

from cdeep3m.cli import models
from cdeep3m.proto import caffemodel
from http_files import Site, served
from published import archive_of, make_published


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return make_published(tmp_path_factory.mktemp("published") / "model")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(models.ADDRESS_VARIABLE, raising=False)


def typed(*words):
    return models.main([str(word) for word in words])


def test_list_names_every_model_its_page_and_what_it_finds(capsys):
    assert typed("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[1].split() == [
        *("mitochondria", "50681", "https://doi.org/10.7295/W9CDEEP3M50681", "mitochondria;", "SBEM,", "ssTEM"),
    ]


def test_info_of_weights(published, capsys):
    path = published / "3fm" / "trainedmodel" / "3fm_classifer_iter_30000.caffemodel"
    assert typed("info", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: trained weights (.caffemodel)"
    assert [line.split(maxsplit=1) for line in lines[1:6]] == [
        ["iteration", "30000"],
        ["net", "BIG_N_INCEPTION_FCN"],
        ["layers", "222, 156 of them with blobs"],
        ["parameters", "250,596"],
        ["fits", "3fm at --width 32"],
    ]
    assert lines[7].split() == ["conv1_1", "Convolution", "2x1x3x3x3,", "2"]
    assert len(lines) == 7 + 222


def test_info_of_a_folder_has_a_few_lines_a_net(published, capsys):
    assert typed("info", published) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("  fits")] == [
        "1fm at --width 32",
        "3fm at --width 32",
    ]
    assert len(lines) == 12


def test_info_of_a_net_that_fits_none(tmp_path, capsys):
    (tmp_path / "a.prototxt").write_text('layer { name: "a" type: "Python" top: "a" }')
    assert typed("info", "a.prototxt") == 0
    shown = capsys.readouterr().out
    assert "none of 1fm, 3fm, 5fm\n" in shown
    assert "0, without those of a\n" in shown
    assert shown.endswith("  a  Python  (depends on its input)\n")


def test_verify_of_a_whole_folder(published, capsys):
    assert typed("verify", published) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1fm: iteration 30000, 250,524 parameters, fits 1fm at --width 32; 2 files read",
        "3fm: iteration 30000, 250,596 parameters, fits 3fm at --width 32; 2 files read",
        f"{published} is whole",
    ]


def test_verify_of_a_broken_folder_exits_with_1_and_says_what_is_broken(tmp_path, capsys):
    folder = make_published(tmp_path / "model")
    (weights,) = (folder / "3fm" / "trainedmodel").iterdir()
    weights.write_bytes(weights.read_bytes()[:1000])
    assert typed("verify", folder) == 1
    shown = capsys.readouterr()
    assert f"  {weights}: the file is cut off or damaged after 1000 bytes" in shown.out
    assert shown.err == f"ERROR, {folder}: 3fm not whole\n"


def test_fetch_makes_the_folder_that_is_asked_for(published, tmp_path, capsys):
    archive = archive_of(published, tmp_path / "sbem.tar.gz")
    assert typed("fetch", archive, "there") == 0
    assert capsys.readouterr().out.endswith("The trained model is in there\n")
    assert (tmp_path / "there" / "3fm" / "deploy.prototxt").is_file()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_fetch_of_a_published_model_by_name(published, tmp_path, monkeypatch, capsys, how):
    archive = archive_of(published, tmp_path / "a.tar").read_bytes()
    with served(Site({"/50682.tar": archive})) as address:
        template = address + "/{accession}.tar"
        if how == "environment":
            monkeypatch.setenv(models.ADDRESS_VARIABLE, template)
        assert typed("fetch", "vesicles", *(["--address", template] if how == "option" else [])) == 0
    assert (tmp_path / "vesicles" / "1fm" / "trainedmodel").is_dir()
    assert capsys.readouterr().err.endswith("vesicles: download: MB 3 of 3\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["fetch", "nonsense"], "neither a file, nor an address, nor the name of a published model"),
        (["fetch", "--sha256", "1", "vesicles"], "64 hexadecimal digits"),
        (["fetch", "ftp://x/y.tar"], "no address that begins with https://"),
        (["info", "nowhere"], "nowhere is no file"),
        (["verify", "nowhere"], "no trained model in nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(words, complaint, capsys):
    assert typed(*words) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ERROR, ")
    assert complaint in shown.err
    assert shown.err.count("\n") == 1


def test_without_a_network_a_published_model_names_its_page(monkeypatch, capsys):
    def no_network(*_, **__):
        raise URLError(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))

    monkeypatch.setattr("cdeep3m.models.download.urlopen", no_network)
    monkeypatch.setattr("cdeep3m.models.download.time.sleep", lambda seconds: None)
    assert typed("fetch", "vesicles") == 1
    shown = capsys.readouterr().err
    assert "https://doi.org/10.7295/W9CDEEP3M50682: no connection" in shown
    assert "by hand" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["bla"], ["info"], ["info", "a", "b"], ["list", "a"], ["fetch"], ["verify"]])
def test_wrong_usage_exits_with_1_and_usage_first(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        typed(*words)
    assert exit_.value.code == 1
    assert capsys.readouterr().err.startswith("usage: cdeep3m models ")


@pytest.mark.parametrize("action", models.ACTIONS)
def test_every_action_explains_itself(action, capsys):
    with pytest.raises(SystemExit) as exit_:
        typed(action, "--help")
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: cdeep3m models {action} ")


def test_output_that_nobody_reads_is_no_error(published):
    command = [sys.executable, "-m", "cdeep3m.cli.models", "info", published / "1fm"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_old_models_are_described_without_torch(tmp_path):
    model = caffemodel.NetParameter(name="old")
    model.layers.add(name="conv", type="CONVOLUTION")
    caffemodel.write_model(tmp_path / "old.caffemodel", model)
    show = "from cdeep3m.cli import models; models.main(['info', 'old.caffemodel'])"
    code = f"import sys; {show}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "False"
