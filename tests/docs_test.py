"""README and docs/: commands parse, code is run by a test, links resolve, tables are fresh."""

import ast
import importlib
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from absl import flags

import tfrec
from tfrec import data_flags, names, presets
from tfrec.__main__ import COMMANDS, command
from tfrec.config import DataConfig, TrainConfig, data_config, known_names, override

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "BUILD.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("docs/**/*.md"),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
OTHERS = {
    *("pip", "git", "curl", "docker", "tensorboard", "tensorflow_model_server", "dask", "kubectl"),
    *(
        "ruff",
        "codespell",
        "mypy",
        "mkdocs",
        "pre-commit",
        ".ci/run",
        ".",
        "export",
        "pytest",
        "cd",
    ),
}
# Pages whose Python another test runs.
RUN_ELSEWHERE = {
    "adding-a-model.md": "outside_model_test.py",
    "adding-a-task.md": "tasks_test.py",
    "metrics.md": "metrics_frames_test.py",
    "serving.md": "serving_docs_test.py",
}


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The fenced blocks of a language."""
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def lines_of(page):
    """The command lines of a page, without comments, continuations and what is joined by &&."""
    for text in blocks(page, "bash"):
        whole = re.sub(r"\\\n\s*", "", re.sub(r"(?m)(^|\s)#.*$", "", text))
        whole = re.sub(r"'[^']*'", lambda m: m[0].replace("\n", " "), whole)
        for line in re.split(r"\n|&&|(?<=\s)&(?=\s|$)|\|", whole):
            if line.strip():
                yield line.strip()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_is_one_that_its_program_takes(page):
    for line in lines_of(page):
        words = shlex.split(line)
        while words and re.match(r"[A-Z_]+=", words[0]):  # variables of the environment
            words = words[1:]
        try:
            check(words)
        except (ValueError, flags.Error) as error:
            raise AssertionError(f"{name_of(page)}: {line}: {error}") from error


def check(words):
    """Refuses a line that its program would not take.

    Raises:
        ValueError: an unknown program, module, flag, model, data set or setting.
    """
    program, *rest = words
    if program == "tfrec":
        if rest[:1] != ["help"]:
            check_command(rest[0], rest[1:])
    elif re.fullmatch(r"python[\d.]*", program) and rest[:1] == ["-m"]:
        check_module(rest[1], rest[2:])
    elif program == "python" and rest[0].startswith(("benchmarks/", "docs/", "examples/")):
        check_script(ROOT / rest[0], rest[1:])
    elif program == "python" and rest[0] == "-c":
        ast.parse(rest[1])
    elif program not in OTHERS:
        raise ValueError(f"no such program: {program}")


def check_module(module, words):
    package, _, name = module.partition(".")
    if package == "tfrec" and name in COMMANDS:
        check_command(name, words)
    elif package == "pipelines" or module.startswith("tfrec.pipelines."):
        own = f"pipelines.{module.rpartition('.')[2]}"
        parse(importlib.import_module(own).COMMAND, words)
    elif importlib.util.find_spec(package) is None and package not in ("venv", "apache_beam"):
        raise ValueError(f"no module {module}")


def check_command(name, words):
    if name not in COMMANDS:
        raise ValueError(known_names(name, COMMANDS))
    parse(command(name), words)


def check_script(path, words):
    """Flags of scripts stand in their source."""
    source = path.read_text()
    for flag in re.findall(r"--(\w+)", " ".join(words)):
        if flag != "help" and f'"{flag}"' not in source and f'"--{flag}"' not in source:
            raise ValueError(f"{path.name} has no --{flag}")


def parse(found, words):
    """Parses as the command does; what the flags name must be known. Resets the flags."""
    values = found.flag_values
    words = [word for word in words if word not in ("...", "--help")]
    try:
        rest = values(["tfrec", *words])[1:]
        if len(rest) > bool(getattr(found, "positional", "")):
            raise ValueError(f"no flag: {rest}")
        known(values)
    finally:
        for name in values:
            values[name].unparse()


def known(values):
    """Refuses unknown models, presets, data sets and settings among parsed flags."""
    given = {name: values[name].value for name in values}
    preset = given.get("preset") or ""
    if preset and preset not in presets.PRESETS | presets.ENSEMBLES:
        raise ValueError(known_names(preset, presets.PRESETS | presets.ENSEMBLES))
    base = presets.PRESETS.get(preset)
    model = given.get("model") or (base.model if base else "")
    for name in [model, *given.get("models", [])]:
        if name not in ("", names.AUTO, "NAME"):
            names.refuse_model(name)
    if isinstance(given.get("set"), list) and model:
        names.refuse_settings(model, given["set"])
    if isinstance(given.get("train"), list):
        override(TrainConfig(), given["train"], "--train")
    if "data" in given and "dataset" in given:
        names.refuse_data_set(given["dataset"])
        start = (base and base.data) or DataConfig()
        if "users" in given:
            data_flags.settings(values, start)
        else:  # of the pipeline
            data_config(start, given["dataset"], given.get("split", ""), given["data"])


def test_a_line_that_would_fail_is_found():
    for line in (
        "python -m tfrec.train --modell=ease",
        "python -m tfrec.train --model=eese",
        "python -m tfrec.train --model=ease --set dropout=0.5",
        "python -m tfrec.train --preset=ease-ml1m-user",
        "python -m tfrec.train --train epoch=3",
        "python -m tfrec.train --split=last --data test=0.2",
        "python -m tfrec.compare --models=ease,popularty",
        "python -m pipelines.local_runner --blessing=x",
        "python benchmarks/ials.py --no_such_flag=1",
        "tfrec tune_it",
        "rm -rf /",
    ):
        with pytest.raises((ValueError, flags.Error)):
            check(shlex.split(line))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_block_is_run_by_a_test(page):
    """Those of a tutorial are parts of an example; `api_test.py` runs README's."""
    examples = [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    examples.append(blocks(ROOT / "README.md", "python")[0])
    for text in blocks(page, "python"):
        ast.parse(text)
        if page.name in RUN_ELSEWHERE or "(not run by a test: " in page.read_text():
            continue
        parts = [part.strip() for part in re.split(r"\n\n", text) if part.strip()]
        for part in parts:
            assert any(part in example for example in examples), f"{name_of(page)}:\n{part}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_pages_files_and_headings(page):
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists() or there.name == "demo.png", f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in headings(there.read_text()), f"{name_of(page)}: {target}"


def headings(text):
    """Anchors of a page's headings, as GitHub and MkDocs make them."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    return {
        re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in found
    }


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_figures_of_readme_are_in_the_results():
    readme = FENCE.sub("", (ROOT / "README.md").read_text())
    known = (ROOT / "docs/results.md").read_text() + (ROOT / "docs/defaults.md").read_text()
    figures = set(re.findall(r"(?<![\w.])\.\d{3,4}\b", readme))
    assert len(figures) > 10
    assert {x for x in figures if x not in known} == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", *ROOT.glob("docs/*.md")], ids=name_of)
def test_generated_tables_are_those_of_the_source(page):
    """`python docs/generate.py` writes them."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.rewritten(page.read_text()) == page.read_text(), "run python docs/generate.py"


def test_every_model_has_its_part():
    text = (ROOT / "docs/models.md").read_text()
    assert set(re.findall(r"<!-- model (\w+)", text)) == set(names.models())


def test_the_api_page_has_every_promised_name():
    shown = re.findall(r"^::: (?:\w+\.)*(\w+)$", (ROOT / "docs/api.md").read_text(), re.M)
    tasks = {"tasks": "Task", "models": "Recommender"}
    promised = set(tfrec.__all__) - {"__version__"}
    assert {tasks.get(name, name) for name in promised} <= set(shown)
    assert tfrec.__version__ in (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    assert f"version: {tfrec.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_errors_of_the_page_are_those_of_the_source():
    paths = [p for folder in ("tfrec", "pipelines") for p in (ROOT / folder).rglob("*.py")]
    source = "\n".join(path.read_text() for path in paths)
    source = re.sub(r"\{[^{}]*\}", "...", re.sub(r'"\s*\n\s*f?"', "", source))
    rows = re.findall(r"^\| `([^`]*)` \|", (ROOT / "docs/faq.md").read_text(), re.M)
    assert len(rows) > 15
    for row in rows:
        parts = [part.strip(" :=") for part in row.split("...")]
        parts = [part for part in parts if len(part) > 4]
        assert parts and all(part in source for part in parts), row


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("mkdocstrings_handlers.python")
    pytest.importorskip("material")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from_pandas" in (tmp_path / "api/index.html").read_text()
