"""Command: runs the whole pipeline on this machine, from raw files to a pushed SavedModel."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from tfrec import cli, data_flags
from tfrec import config as config_lib
from tfrec.config import DataConfig

from . import engine, evaluator, example_gen, object_stores, trainer

if TYPE_CHECKING:
    from . import pipeline

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", "ml-latest-small", "the data set", flag_values=FLAGS)
flags.DEFINE_string(
    "raw",
    "",
    "raw files: a zip or a folder; with {SPAN} for a number: all spans",
    flag_values=FLAGS,
)
flags.DEFINE_string("split", "", "random, folds, time, users or last", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "data", [], "name=value of the data's settings, such as seed=1", flag_values=FLAGS
)
flags.DEFINE_string("model", "deeprec", "which model", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "set", [], "name=value of the model's settings, such as dropout=0.5", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "train", [], "name=value of training, such as epochs=10", flag_values=FLAGS
)
flags.DEFINE_string("schema", "", "schema (default: one in the root)", flag_values=FLAGS)
flags.DEFINE_bool("warm_start", False, "start from the served model", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "threshold", [], "such as 'rmse<0.95' or 'new items: rmse<1.1'", flag_values=FLAGS
)
flags.DEFINE_string("bless", "not_worse", ", ".join(evaluator.DEMANDS), flag_values=FLAGS)
flags.DEFINE_integer("k", 20, "items in a response", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("partitions", 0, data_flags.PARTITIONS, lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string(
    "pipeline_root", "", "root of the artefacts, or its address in a store", flag_values=FLAGS
)
flags.DEFINE_string("push_dir", "saved_models", "root of the served models", flag_values=FLAGS)
flags.DEFINE_string(
    "runner", "FnApiRunner", "a runner of Apache Beam, or local: without Beam", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "beam", [], "name=value of Beam's options, such as direct_num_workers=2", flag_values=FLAGS
)


def settings() -> "pipeline.Settings":
    """The settings given by the flags."""
    from . import pipeline

    demand = evaluator.Demand(tuple(FLAGS.threshold), FLAGS.bless)
    choice = trainer.choose(FLAGS.model, FLAGS["set"].value, FLAGS.train)
    base = dataclasses.replace(DataConfig(), rows=choice.rows)
    data = config_lib.data_config(base, FLAGS.dataset, FLAGS.split, FLAGS.data)
    fold = data.fold if data.split == "folds" else None
    return pipeline.Settings(
        sources=example_gen.sources(data.dataset, FLAGS.raw, fold),
        data=data,
        choice=choice,
        demand=demand,
        push_dir=FLAGS.push_dir,
        schema=pathlib.Path(FLAGS.schema) if FLAGS.schema else None,
        warm_start=FLAGS.warm_start,
        k=FLAGS.k,
        partitions=FLAGS.partitions,
    )


def main() -> None:
    """Runs the step and prints the next command."""
    try:
        from tfrec.datasets import registry

        from . import pipeline
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install 'tfrec[pipelines]'") from None
    root = object_stores.root(cli.require(FLAGS, "pipeline_root"), registry.cache_dir())
    worker = engine.make(FLAGS.runner, FLAGS.beam, root)
    cli.start_tensorflow()
    version = str(pipeline.run(settings(), root, worker))
    print(f"serve:    tensorflow_model_server --rest_api_port=8501 --model_name={FLAGS.model} \\")
    print(f"            --model_base_path={version.rpartition('/')[0]}")
    print(f"back:     python -m {__package__}.pusher --rollback={FLAGS.model} "
          f"--push_dir={FLAGS.push_dir}")  # fmt: skip


COMMAND = cli.Command(
    main,
    FLAGS,
    "Raw files to a pushed SavedModel; a second run does only what changed.",
    f"python -m {__package__}.local_runner --dataset=ml-1m --raw=ml-1m.zip --model=ease "
    "--pipeline_root=pipeline --push_dir=saved_models",
)

if __name__ == "__main__":
    COMMAND.run()
