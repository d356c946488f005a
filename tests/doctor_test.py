"""The doctor: its report if all works, and if a part is missing or broken."""

import importlib.metadata
import importlib.util
import pathlib
import re
import runpy
import sys
import types

import keras
import pytest
import setuptools
from commands_test import run

PATH = pathlib.Path(__file__).parents[1] / "tfrec/doctor.py"


@pytest.fixture
def doctor():
    """The module under its own name: `visit` runs it as __main__."""
    spec = importlib.util.spec_from_file_location("the_doctor", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def visit(capsys, monkeypatch, tmp_path):
    """`visit()` -> status, out, err; the slow parts are taken for not installed."""
    monkeypatch.delenv("TFREC_DEBUG", raising=False)
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFREC_DATA", str(tmp_path))
    for name in ("apache_beam", "aiohttp"):
        monkeypatch.setitem(sys.modules, name, None)
    return lambda: run(capsys, "doctor")


def test_the_report_fits_on_one_screen(visit, tmp_path):
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "cache/prepared/x").mkdir(parents=True)
    (tmp_path / "cache/prepared/x/info.json").write_text("{}")
    done = visit()
    assert (done.status, done.err) == (0, "")
    assert f"keras {keras.__version__}" in done.out and "a training step by Keras" in done.out
    assert "CPU: /physical_device:CPU:0" in done.out
    assert "-    [pipelines] Apache Beam, schema protos: apache_beam is not installed" in done.out
    assert "-    tensorflow-io is not installed; not used: " in done.out
    assert re.search(r"GB free for TFREC_CACHE: .*/cache$", done.out, re.M)
    assert f"TFREC_DATA={tmp_path}: ml-100k\n" in done.out
    assert "no raw data sets; 1 prepared" in done.out and "embedded: ml-latest-small" in done.out
    assert done.out.endswith("the core works\n")
    lines = done.out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 160


def test_a_missing_data_folder_is_reported(visit, monkeypatch):
    monkeypatch.setenv("TFREC_DATA", "/nowhere")
    assert "NO   TFREC_DATA=/nowhere is not a folder; correct or unset it" in visit().out


def test_a_core_package_that_is_missing_or_too_old(visit, monkeypatch):
    version = importlib.metadata.version

    def without_scipy(name):
        if name == "scipy":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0" if name == "pyarrow" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_scipy)
    lines = ["scipy>=1.14", "pyarrow>=18", 'pytest>=8; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    done = visit()
    assert done.status == 1
    assert "NO   scipy is not installed: pip install 'scipy>=1.14'" in done.out
    assert "NO   pyarrow 1.0 is not >=18: pip install 'pyarrow>=18'" in done.out
    assert "pytest>" not in done.out
    assert re.match("error: the core does not work: pyarrow 1.0 .*; scipy is", done.err)


def test_a_core_that_loads_but_does_not_train(visit, monkeypatch):
    def broken(layers):
        raise RuntimeError("undefined\nsymbol")

    monkeypatch.setattr(keras, "Sequential", broken)
    done = visit()
    assert done.status == 1 and "error: the core does not work: a training step" in done.err
    assert "NO   a training step: RuntimeError: undefined symbol" in done.out
    assert "not checked" in done.out and "GB free" in done.out  # the rest is reported all the same


def test_an_optional_part_that_is_there_but_broken(monkeypatch, doctor):
    def broken(module):
        raise OSError("libx.so: cannot open shared object")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    assert doctor.extra("tune", "search", ("optuna",)) == (
        "NO",
        "[tune] search: optuna does not load (libx.so: cannot open shared object)",
    )


def test_keras_2_packages_are_tried_with_their_switch(monkeypatch, tmp_path, doctor):
    """In a process of their own: the switch must be set before TensorFlow is imported."""
    package = tmp_path / "needs_keras_2.py"
    package.write_text("import os\nassert os.environ['TF_USE_LEGACY_KERAS'] == '1'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "_KERAS_2", {"needs_keras_2"})
    assert doctor.extra("x", "y", ("needs_keras_2",)) == ("ok", "[x] y")
    assert "needs_keras_2" not in sys.modules
    package.write_text("raise ImportError")
    assert doctor.extra("x", "y", ("needs_keras_2",))[0] == "NO"


def test_it_knows_what_setup_asks_for(monkeypatch, doctor):
    asked = types.SimpleNamespace()
    monkeypatch.setattr(setuptools, "setup", lambda **words: vars(asked).update(words))
    runpy.run_path(str(pathlib.Path(__file__).parents[1] / "setup.py"))
    names = {re.match(r"[\w-]+", line)[0] for line in asked.install_requires}
    assert set(doctor.CORE) == names
    assert set(doctor.EXTRAS) == set(asked.extras_require) - {"dev", "gpu"}
