"""Flags: help, mistyped words, and what a command prints before it works."""

import ast
import dataclasses
import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys

import pytest
from commands_test import listing, run

import tfrec as package
from tfrec import __main__ as console
from tfrec import cli
from tfrec.config import DataConfig, TrainConfig
from tfrec.models.registry import MODELS

SOURCE = pathlib.Path(cli.__file__).parent
COMMANDS = (
    *("train", "tune", "ensemble", "prepare", "evaluate", "compare", "recommend", "export"),
    *("serve", "request", "deploy", "describe", "report"),
)
COMPONENTS = (
    *("local_runner", "example_gen", "statistics_gen", "schema_gen", "example_validator"),
    *("transform", "trainer", "evaluator", "pusher"),
)


@pytest.fixture
def tfrec(capsys, monkeypatch, tmp_path_factory):
    """`tfrec(command, *words)` -> status, out, err."""
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path_factory.getbasetemp() / "flags"))
    monkeypatch.delenv("TFREC_DATA", raising=False)
    monkeypatch.delenv("TFREC_DEBUG", raising=False)
    return lambda command, *words: run(capsys, command, *words)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """`pipelines` as a wheel has it: as tfrec.pipelines."""
    (tmp_path / "pipelines").symlink_to(SOURCE.parent / "pipelines")
    monkeypatch.setattr(package, "__path__", [str(SOURCE), str(tmp_path)])
    monkeypatch.setattr(package, "pipelines", None, raising=False)
    yield
    for name in [name for name in sys.modules if name.startswith("tfrec.pipelines")]:
        del sys.modules[name]


def check_help(done, module):
    """A text that shows an example and flags, all of the example's among them."""
    assert (done.status, done.err) == (0, "")
    example, flags = re.search(r"Example:\n  (.*)\n\nFlags:\n(.*)", done.out, re.S).groups()
    assert example.startswith(f"python -m {module} --")
    known = re.findall(r"^  --(\w+): \S", flags, re.M)
    assert len(known) >= 2
    assert set(re.findall(r" --(\w+)", example)) <= set(known)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_every_flag(tfrec, command):
    check_help(tfrec(command, "--help"), f"tfrec.{command}")


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_show_the_name_they_are_run_by(capsys, installed, component):
    for name in ("pipelines", "tfrec.pipelines"):
        check_help(run(capsys, component, "--help", package=name), f"{name}.{component}")


def commands_in(folder):
    return {p.stem for p in folder.glob("*.py") if "\nCOMMAND = cli." in p.read_text()}


def test_every_command_is_in_the_list():
    assert commands_in(SOURCE) == {*COMMANDS, "doctor"} == {*console.COMMANDS} - {"pipeline"}
    assert commands_in(SOURCE.parent / "pipelines") == {*COMPONENTS}


def test_nothing_heavy_is_loaded_to_list_commands():
    """In a process of its own, which also imports the pipeline's components."""
    script = "import importlib, sys\nfrom tfrec import __main__\n__main__.main()\n"
    script += f"for name in {COMPONENTS}: importlib.import_module('pipelines.' + name)\n"
    script += "assert not {'tensorflow', 'keras', 'pandas', 'pyarrow'} & set(sys.modules)"
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, cwd=SOURCE.parent)
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  (\w+) +[A-Z].*\.$", done.stdout, re.M)
    assert tuple(listed) == console.COMMANDS


def test_the_pipeline_says_what_to_install():
    """It is listed and has its help where what it runs with is missing."""
    script = "import sys\nfrom tfrec import __main__\nsys.modules['tensorflow_metadata'] = None\n"
    script += "__main__.command('pipeline')\n__main__.main()"
    words = [sys.executable, "-c", script, "pipeline", "--pipeline_root=x"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=SOURCE.parent)
    message = r"error: tensorflow_metadata\S* is missing: pip install 'tfrec\[pipelines\]'\n"
    assert done.returncode == 1 and re.fullmatch(message, done.stderr), done.stderr


@pytest.fixture
def typed(capsys, monkeypatch):
    """`typed(*words)`: the command `tfrec` and its words -> status, out, err."""
    monkeypatch.delenv("TFREC_DEBUG", raising=False)

    def answer(*words):
        monkeypatch.setattr(sys, "argv", ["tfrec", *words])
        try:
            console.main()
        except SystemExit as end:
            return f"{end.code}"
        return capsys.readouterr().out

    return answer


def test_a_command_is_run_by_its_name(typed, tmp_path):
    assert typed("evaluate", f"--run_dir={tmp_path}").startswith("error: ")
    assert "config.json does not exist" in typed("evaluate", f"--run_dir={tmp_path}")
    shown = typed("evaluate", "--help")
    assert "Example:\n  python -m tfrec.evaluate --run_dir" in shown
    assert typed("help", "evaluate") == shown
    assert "--pipeline_root: " in typed("pipeline", "--help")


def test_an_unknown_command_is_answered_with_the_known_ones(typed):
    answer = r"error: 'xport' is not a command; did you mean 'export'\? known: prepare, .*, doctor$"
    assert re.match(answer, typed("xport", "--run_dir=x"))
    assert re.match(answer, typed("help", "xport"))
    assert typed() == typed("help") == typed("--help") == typed("-h")


def test_help_exits_with_zero_as_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "tfrec.evaluate", "--help"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_is_no_longer_read_is_no_error():
    """As in `| head -1`: the pipe is closed after the first line."""
    command = [sys.executable, "-m", "tfrec.train", "--list_presets"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
        assert done.wait() == 128 + signal.SIGPIPE


def test_a_process_prints_its_own_lines_only(tmp_path):
    """TensorFlow is imported here; none of its notices may show."""
    done = subprocess.run(
        [sys.executable, "-m", "tfrec.evaluate", f"--run_dir={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: .*config.json does not exist.*\n", done.stderr)


def test_notices_held_back_are_shown_when_they_matter(capfd):
    with cli._stderr_held_back():
        os.write(2, b"a notice\n")
    with cli._stderr_held_back() as show:
        os.write(2, b"no driver for your GPU\n")
        show()
    with pytest.raises(ImportError), cli._stderr_held_back():
        os.write(2, b"a library is missing\n")
        raise ImportError
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "no driver for your GPU\na library is missing\nlater\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["train", "--modle=ease"],
            "unknown flag --modle; did you mean '--model'. known: --col",
        ),
        (["train", "ease"], "'ease' is not a flag: flags are written --name=value"),
        (
            ["train", "--model=eese"],
            "--model='eese' is unknown; did you mean 'ease'. known: deeprec",
        ),
        (["train", "--dataset=ml-1n"], "--dataset=ml-1n: .*did you mean 'ml-1m'. known: ml-100k"),
        (["train", "--preset=ease-ml1m"], "--preset='ease-ml1m' .*did you mean 'ease-ml1m-users'"),
        (
            ["train", "--set", "hiddenx=8"],
            "--set 'hiddenx=8': .*did you mean 'hidden'. known: base, regularization, hidden",
        ),
        (["train", "--set", "dropout=much"], "--set 'dropout=much': 'much' is not of type float"),
        (["train", "--set", "dropout"], "--set 'dropout' is not of the form name=value"),
        (["train", "--train", "epoch=1"], "--train 'epoch=1': .*did you mean 'epochs'"),
        (["train", "--train", "optimizer=adams"], "--train optimizer=adams .*mean 'adam'"),
        (["train", "--train", "monitor=rsme"], "monitor=rsme.*did you mean 'rmse'"),
        (["train", "--data", "sed=1"], "--data 'sed=1': .*did you mean 'seed'"),
        (["train", "--split=randon"], "split=randon is unknown; did you mean 'random'"),
        (["train", "--data", "rows=users"], "--data rows=users is unknown; did you mean 'user'"),
        (["train", "--train", "epochs=0"], "--train epochs=0 must be at least 1"),
        (["train", "--set", "dropout=1"], "--set dropout=1.0 must be 0 or more and less than 1"),
        (
            ["train", "--data", "test=1"],
            "--data test=1.0 must be .* less than 1, with split=random",
        ),
        (
            ["train", "--strategy=mirrord"],
            "--strategy='mirrord' is unknown; did you mean 'mirrored'",
        ),
        (["train", "--seed=x"], "flag --seed=x: "),
        (
            ["prepare", "--split=tine", "--data_dir={}"],
            "split=tine is unknown; did you mean",
        ),
        (["prepare"], "--data_dir is missing"),
        (["evaluate", "--run_dir={}/none"], "config.json does not exist: --run_dir=.* make one"),
        (["recommend", "--run_dir={}/none", "--user=1"], "config.json does not exist: --run_dir"),
        (["recommend", "--run_dir={}/none"], "give one of --user, --items, --similar"),
        (["export", "--run_dir={}/none"], "config.json does not exist: --run_dir"),
        (["export"], "--run_dir is missing"),
        (["export", "--run_dir={}", "--recall=.9"], "--recall is for --index=ivf"),
        (["export", "--rank={}"], "--retrieve and --rank go together"),
        (
            ["export", "--rank={}", "--retrieve={}", "--index=ivf"],
            "go without --run_dir",
        ),
        (["serve"], "give --model_base_path=DIR or --model_config_file=FILE"),
        (["serve", "--rest_port=1"], "unknown flag --rest_port; did you mean '--rest_api_port'"),
        (["serve", "--model_base_path={}/none"], "--model_base_path=.*none does not exist"),
        (["request", "--model_name=m"], "give one of --items=item:rating,... and --user=ID"),
        (["deploy", "--export_dir={}"], "--export_dir=.* holds no version: tfrec.export makes one"),
    ],
    ids=lambda x: "_".join(x) if isinstance(x, list) else "",
)
def test_a_mistyped_word_is_answered_with_the_known_ones(tfrec, tmp_path, words, expected):
    words = [w.format(tmp_path) for w in words]
    if words[0] == "train":
        words.append(f"--run_dir={tmp_path / 'run'}")
    done = tfrec(*words)
    assert done.status == 1
    assert re.match("error: .*" + expected, done.err), done.err
    assert done.err.count("\n") == 1
    assert not listing(tmp_path)


@pytest.mark.parametrize(
    "words",
    [["--split=randon"], ["--data", "rows=users"], ["--data", "test=1"], ["--data", "shards=0"]],
    ids=lambda words: words[-1],
)
def test_settings_are_checked_before_anything_is_fetched(tfrec, tmp_path, monkeypatch, words):
    monkeypatch.setattr("tfrec.datasets.registry.load", None)  # would fail
    for command in ("prepare", "train"):
        done = tfrec(command, "--dataset=ml-1m", f"--data_dir={tmp_path}", *words)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith(f"error: --data {words[-1].removeprefix('--')}")


def texts(path):
    """All strings of a source file that are no documentation."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_messages_name_flags_and_settings_that_exist():
    flags = {name for c in COMMANDS for name in runpy.run_module(f"tfrec.{c}")["FLAGS"]}
    flags |= {"help", "name"} | {f"no{name}" for name in flags}
    settings = {
        "data": {f.name for f in dataclasses.fields(DataConfig)},
        "train": {f.name for f in dataclasses.fields(TrainConfig)},
        "set": {f.name for m in MODELS.values() for f in dataclasses.fields(m.Config)},
    }
    for path in SOURCE.rglob("*.py"):
        for text in texts(path):
            assert set(re.findall(r"--(?!helpf)(\w+)", text)) <= flags, path
            for flag, name in re.findall(r"--(data|train|set) (\w+)=", text):
                assert name in settings[flag], f"{path}: --{flag} {name}"
