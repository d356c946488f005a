"""Trainer: trains on prepared rows and writes a run directory, by tfrec's own experiment.

The artefact is a --run_dir for `tfrec.recommend`, `evaluate` and `export`. A run that was killed
resumes after its last finished epoch.
"""

import dataclasses
import pathlib

from absl import flags

from tfrec import cli
from tfrec import config as config_lib
from tfrec.config import DataConfig, TrainConfig

from . import artifacts, transform

COMPONENT = "trainer"

FLAGS = flags.FlagValues()
flags.DEFINE_string("rows", "", "prepared rows, as made by transform", flag_values=FLAGS)
flags.DEFINE_string("model", "deeprec", "which model", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "set", [], "name=value of the model's settings, such as dropout=0.5", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "train", [], "name=value of training, such as epochs=10", flag_values=FLAGS
)
flags.DEFINE_string(
    "warm_start", "", "an earlier run, as made by trainer, to start from", flag_values=FLAGS
)
flags.DEFINE_string("output", "", "the run directory to make", flag_values=FLAGS)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A model and its settings.

    Attributes:
        model: Key of the model registry.
        settings: All settings of the model.
        train: Settings of training.
        rows: The kind of rows that it needs.
    """

    model: str
    settings: dict
    train: TrainConfig
    rows: str


def choose(model: str, settings: list[str], train: list[str]) -> Choice:
    """The model's defaults with `name=value` applied; imports TensorFlow.

    Raises:
        ValueError: unknown model or setting.
    """
    from tfrec.models import registry

    cls = registry.model_class(model)
    own = config_lib.override(cls.Config(), settings, "--set")
    trained = config_lib.override(cls.defaults, train, "--train")
    return Choice(model, config_lib.to_dict(own), trained, cls.rows(own))


def run(
    rows: artifacts.Artifact,
    choice: Choice,
    earlier: artifacts.Artifact | None = None,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
) -> artifacts.Artifact:
    """Trains a model.

    Args:
        rows: Prepared data.
        choice: The model and its settings.
        earlier: A run to start from.
        path: As in `artifacts.make`.
        root: As in `artifacts.make`.
    """

    def build(directory: pathlib.Path) -> None:
        from tfrec.api import fitting
        from tfrec.training import run_config, runs, summaries

        config = run_config.RunConfig(
            model=choice.model,
            settings=choice.settings,
            data=config_lib.from_dict(DataConfig, rows.settings),
            data_dir=str(rows.path.absolute()),
            train=choice.train,
            warm_start=str(earlier.path.absolute()) if earlier else "",
            versions=run_config.versions(),
        )
        options = fitting.Options(resume=runs.RunDir(directory).exists)
        trial = fitting.carry_out(config, directory, options)
        below = summaries.below_floors(trial.result, choice.model)
        table = summaries.table(trial.result, trial.task_object)
        print("\n".join([table, *below]), flush=True)
        for left in directory.glob(".*"):  # incomplete files of a run that was killed
            left.unlink()

    inputs = {"rows": rows} | ({"earlier": earlier} if earlier else {})
    settings = {
        "model": choice.model,
        "settings": choice.settings,
        "train": config_lib.to_dict(choice.train),
    }
    return artifacts.make(path, COMPONENT, settings, inputs, build, root=root, resumes=True)


def main() -> None:
    """Runs the step and prints the next command."""
    rows = artifacts.Artifact.load(cli.require(FLAGS, "rows"), transform.COMPONENT)
    output = pathlib.Path(cli.require(FLAGS, "output"))
    earlier = artifacts.Artifact.load(FLAGS.warm_start, COMPONENT) if FLAGS.warm_start else None
    cli.start_tensorflow()
    run(rows, choose(FLAGS.model, FLAGS["set"].value, FLAGS.train), earlier, output)
    print(f"next: python -m {__package__}.evaluator --rows={rows.path} --run_dir={output}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Trains a model on prepared rows; resumes after it was killed.",
    f"python -m {__package__}.trainer --rows=rows --model=ease --output=run",
)

if __name__ == "__main__":
    COMMAND.run()
