"""Command: several runs or models in one table, with intervals and tests of significance.

The function `tfrec.compare` has the name of this module, so that importing the module would hide
it; therefore the module can be called, too.
"""

import pathlib
from typing import Any

from absl import flags

from tfrec import aside, cli, data_flags, names
from tfrec import config as config_lib
from tfrec.config import TrainConfig

FLAGS = flags.FlagValues()
flags.DEFINE_list("runs", [], "run directories, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_list(
    "models", [], "models to train on the data, unless trained already", flag_values=FLAGS
)
data_flags.define(FLAGS, "prepared data that models are trained on")
flags.DEFINE_multi_string(
    "train", [], "name=value of training, such as epochs=10, for all models", flag_values=FLAGS
)
flags.DEFINE_list("metrics", [], "which (default: the task's own)", flag_values=FLAGS)
flags.DEFINE_string("run_dir", "runs/compare", "where models are trained", flag_values=FLAGS)
flags.DEFINE_string("html", "", "also write the table to this HTML page", flag_values=FLAGS)
flags.DEFINE_string("csv", "", "also write the numbers to this file", flag_values=FLAGS)


def main() -> None:
    """Compares the runs and models, and prints a table."""
    if not FLAGS.runs and not FLAGS.models:
        raise ValueError(
            "nothing to compare: give --runs=runs/a,runs/b or --models=popularity,ease"
        )
    for name in FLAGS.models:
        names.refuse_model(name, "--models")
    names.refuse_data_set(FLAGS.dataset)
    cli.start_tensorflow()
    from tfrec.api import comparing

    found = comparing.compare(
        [*map(pathlib.Path, FLAGS.runs), *FLAGS.models],
        data_flags.prepared(FLAGS) if FLAGS.models else None,
        metrics=FLAGS.metrics,
        run_dir=FLAGS.run_dir,
        **_training(),
    )
    print(found)
    if FLAGS.html:
        found.save_html(FLAGS.html)
    if FLAGS.csv:
        with aside.file(FLAGS.csv) as partial:
            found.frame.to_csv(partial)


def _training() -> dict[str, Any]:
    """The values of --train, by setting."""
    values = config_lib.parsed(TrainConfig, FLAGS.train, "--train")
    config_lib.replaced(TrainConfig(), values, "--train")  # refuses what is out of range
    return values


cli.make_callable("tfrec.compare", "tfrec.api.comparing")

COMMAND = cli.Command(
    main,
    FLAGS,
    "Compares runs in one table, with intervals and tests of significance.",
    "python -m tfrec.compare --models=popularity,ease,multvae --dataset=ml-latest-small",
)

if __name__ == "__main__":
    COMMAND.run()
