"""The pipeline: runs the components in order, and only those whose inputs have changed.

example_gen, statistics_gen     span by span
schema_gen                      once
example_validator               all spans, against the schema and each other
transform                       all spans to rows
statistics_gen, example_validator   the rows' splits, test against training
trainer, evaluator, pusher
"""

import dataclasses
import json
import pathlib

from tfrec.config import DataConfig

from . import (
    artifacts,
    engine,
    evaluator,
    example_gen,
    example_validator,
    object_stores,
    pusher,
    schema_gen,
    statistics_gen,
    trainer,
    transform,
)
from .artifacts import Artifact

LAST_RUN = "pipeline.json"  # the artefacts of the last run, by step


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a pipeline run.

    Attributes:
        sources: The spans.
        data: Settings of preparing.
        choice: The model and its training.
        demand: Requirements of the model.
        push_dir: Root of the served models, or its address in an object store.
        schema: The schema's file; None for one in the pipeline's root.
        warm_start: Start from the served model, which was trained on earlier spans.
        k: Number of items in a response.
        partitions: Number of partitions in `transform`, see there.
    """

    sources: list[example_gen.Source]
    data: DataConfig
    choice: trainer.Choice
    demand: evaluator.Demand
    push_dir: pathlib.Path | str = pathlib.Path("saved_models")
    schema: pathlib.Path | None = None
    warm_start: bool = False
    k: int = 20
    partitions: int = 0


def run(settings: Settings, root: pathlib.Path, engine: engine.Engine) -> pathlib.PurePath | str:
    """Runs all steps that are not done yet; returns the version that is pushed.

    Args:
        settings: Settings of the run.
        root: Directory of the artefacts.
        engine: Runs the tasks of example_gen, statistics_gen and transform.

    Raises:
        ValueError: anomalies in the data, a model that is not blessed, or invalid settings;
            nothing was pushed.
    """
    with artifacts.locked(root):
        made, schema = prepared(settings, root, engine)
        rows, choice = made["transform"], settings.choice
        push_dir = pusher.local(settings.push_dir, choice.model, root)
        served = pusher.served(push_dir, choice.model)
        earlier = _earlier(served, rows) if settings.warm_start else None
        made["trainer"] = trainer.run(rows, choice, earlier, root=root)
        # A model is not compared with itself, but with the model that was served before it.
        if served and served.fingerprint == made["trainer"].fingerprint:
            served = _held_against(root, served)
        made["evaluator"] = evaluator.run(rows, made["trainer"], served, settings.demand, root=root)
        _note(root, made, schema)
        version = pusher.run(made["trainer"], made["evaluator"], push_dir, settings.k)
        artifacts.sweep(root, made)
        return pusher.published(version, settings.push_dir)


def prepared(
    settings: Settings, root: pathlib.Path, engine: engine.Engine
) -> tuple[dict[str, Artifact], pathlib.Path]:
    """The steps up to validated rows: their artefacts, and the schema's file."""
    schema = settings.schema or root / schema_gen.COMPONENT / "schema.pbtxt"
    object_stores.fetch_file(schema)  # where it is edited
    examples = example_gen.run(settings.sources, root, engine)
    statistics = {n: statistics_gen.of_span(x, engine, root=root) for n, x in examples.items()}
    first = min(examples)
    schema_gen.run(schema, examples[first], statistics[first])
    object_stores.store_file(schema)
    valid = example_validator.of_spans(examples, statistics, schema, root=root)
    example_validator.check(valid)
    rows = transform.run(
        examples, settings.data, engine, root=root, n_partitions=settings.partitions
    )
    of_splits = statistics_gen.of_rows(rows, engine, root=root)
    skew = example_validator.of_splits(of_splits, schema, root=root)
    example_validator.check(skew)
    made = {f"examples-{n}": x for n, x in examples.items()}
    made |= {f"statistics-{n}": x for n, x in statistics.items()}
    made |= {"anomalies": valid, "transform": rows, "splits": of_splits, "skew": skew}
    return made, schema


def _earlier(served: Artifact | None, rows: Artifact) -> Artifact | None:
    """The run to start from: the served one, or that one's own start if it has these rows."""
    if served is None or served.inputs["rows"] != rows.fingerprint:
        return served
    mark = served.inputs.get("earlier")
    if mark is None:
        return None
    return _find(served.path.parent, trainer.COMPONENT, mark)


def _held_against(root: pathlib.Path, served: Artifact) -> Artifact | None:
    """The run that the served run was compared with when it was blessed."""
    object_stores.fetch_all(root / evaluator.COMPONENT)
    for record in sorted((root / evaluator.COMPONENT).glob(f"*/{artifacts.RECORD}")):
        found = Artifact.load(record.parent)
        if found.inputs["run"] == served.fingerprint and evaluator.read(found.path)["blessed"]:
            mark = found.inputs.get("served")
            return _find(root / trainer.COMPONENT, trainer.COMPONENT, mark) if mark else None
    return None


def _find(folder: pathlib.Path, component: str, mark: str) -> Artifact | None:
    try:
        return Artifact.load(folder / mark[:16], component)
    except FileNotFoundError:
        return None


def _note(root: pathlib.Path, made: dict[str, Artifact], schema: pathlib.Path) -> None:
    """Writes the paths of all artefacts of this run."""
    paths = {name: str(artifact.path) for name, artifact in made.items()} | {"schema": str(schema)}
    aside = root / f".partial-{LAST_RUN}"
    aside.write_text(json.dumps(paths, indent=2) + "\n")
    aside.replace(root / LAST_RUN)
