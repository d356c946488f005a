"""Beam's runners and options by name, checked, since Beam itself ignores unknown options."""

import importlib
import importlib.metadata
import pathlib
import re

import apache_beam.runners
from apache_beam.options import pipeline_options
from apache_beam.runners import runner as beam_runner

from tfrec.config import known_names

_DASK_SIZES = ("dask_partition_size", "dask_npartitions")
_KNOWN = pipeline_options.StandardOptions.KNOWN_RUNNER_NAMES


def runner_class(name: str) -> type[beam_runner.PipelineRunner]:
    """The class of a runner; importing it registers the runner's own options with Beam.

    Args:
        name: As in Beam (such as "FlinkRunner", "flink" or "my.module.MyRunner"), or the name of
            any class in a module of its name in `apache_beam.runners`, such as "DaskRunner",
            for which Beam needs the module.

    Raises:
        ValueError: there is no such runner, or a package that it needs is not installed.
    """
    module, _, cls = _path(name).rpartition(".")
    try:
        return getattr(importlib.import_module(module), cls)
    except (ImportError, AttributeError) as error:  # a missing module may be replaced by {}
        raise ValueError(
            f"--runner={name} cannot be loaded ({error}): {_to_install(module)}"
        ) from error


def _path(name: str) -> str:
    """The runner's class with its module."""
    found = beam_runner._RUNNER_MAP
    for key in (name.lower(), f"{name.lower()}runner"):
        if key in found:
            return found[key]
    if "." in name:
        return name
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for root in map(pathlib.Path, apache_beam.runners.__path__):
        for file in root.rglob(f"{snake}.py"):
            parts = file.relative_to(root).with_suffix("").parts
            return ".".join(["apache_beam.runners", *parts, name])
    raise ValueError(f"--runner={name} is not a runner; " + known_names(name, ["local", *_KNOWN]))


def _to_install(module: str) -> str:
    extra = module.split(".")[-2] if "." in module else ""
    if extra in importlib.metadata.metadata("apache-beam").get_all("Provides-Extra", []):
        return f"pip install '{'tfrec' if extra == 'dask' else 'apache-beam'}[{extra}]'"
    return f"install the package that has the module {module}, and all that it imports"


def make(runner: str, assignments: list[str]) -> pipeline_options.PipelineOptions:
    """Beam's options; those of a runner's own module are known once it is imported.

    Raises:
        ValueError: not "name=value", or a name that Beam does not know.
    """
    for text in assignments:
        if "=" not in text:
            raise ValueError(f"--beam {text!r} is not of the form name=value")
    known = _names()
    for name in (text.partition("=")[0] for text in assignments):
        if name not in known:
            raise ValueError(f"--beam {name}: Beam has no such option; " + known_names(name, known))
    given = {text.partition("=")[0] for text in assignments}
    if runner.endswith("DaskRunner") and given.isdisjoint(_DASK_SIZES):
        assignments = [*assignments, f"{_DASK_SIZES[0]}=1"]  # a task each; by default 128 at once
    words = [f"--{text}" for text in assignments]
    words = [word.removesuffix("=true") for word in words]  # Beam's switches take no value
    return pipeline_options.PipelineOptions([f"--runner={runner}", *words])


def _names() -> list[str]:
    """The names of all options, as written in flags; Beam's dict has names of attributes."""
    parsers = []
    pipeline_options.PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    words = [word for action in parsers[0]._actions for word in action.option_strings]
    return sorted(word.removeprefix("--") for word in words if word.startswith("--"))
