"""Command: searches for the settings of a model that are best on validation.

The function `tfrec.tune` has the name of this module, as in `tfrec.compare`.
"""

from absl import flags

from tfrec import cli, data_flags, names
from tfrec import config as config_lib
from tfrec.config import TrainConfig

FLAGS = flags.FlagValues()
flags.DEFINE_string("model", "deeprec", "which model", flag_values=FLAGS)
data_flags.define(FLAGS, "prepared data that trials are trained on")
flags.DEFINE_integer("trials", 20, "trials of the study, including earlier ones", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "search",
    [],
    "name=low..high, name=low..high,log or name=a|b|c: values of a setting to search, in addition "
    "to or instead of those of --list_space",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "list_space", False, "print the searched settings and their values, and exit", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "set", [], "name=value of the model's settings, for all trials", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "train", [], "name=value of training, such as epochs=15, for all trials", flag_values=FLAGS
)
flags.DEFINE_string("settings", "", "a file of settings to start from", flag_values=FLAGS)
flags.DEFINE_bool("pruning", True, "stop unpromising trials early", flag_values=FLAGS)
flags.DEFINE_bool(
    "test", True, "train the winner and evaluate it on test at the end", flag_values=FLAGS
)
flags.DEFINE_string(
    "run_dir", "", "the study's folder (default: runs/tune-<model>)", flag_values=FLAGS
)


def main() -> None:
    """Runs the study and prints the best settings."""
    names.refuse_model(FLAGS.model)
    names.refuse_data_set(FLAGS.dataset)
    names.refuse_settings(FLAGS.model, FLAGS["set"].value)
    values = config_lib.parsed(TrainConfig, FLAGS["train"].value, "--train")
    cli.start_tensorflow()
    from tfrec.api import fitting, search_space, tuning
    from tfrec.training import summaries

    cls, own, train = fitting.starting_point(FLAGS.model, FLAGS.settings or None)
    values |= config_lib.parsed(cls.Config, FLAGS["set"].value, "--set")
    search = search_space.parsed(cls, FLAGS.search)
    if FLAGS.list_space:
        own, train = fitting.overlaid(own, train, cls, values)
        print(search_space.listing(*tuning.space(cls, own, train, search, values)))
        return
    tuned = tuning.tune(
        FLAGS.model,
        data_flags.prepared(FLAGS),
        trials=FLAGS.trials,
        run_dir=FLAGS.run_dir or None,
        search=search,
        pruning=FLAGS.pruning,
        test=FLAGS.test,
        settings=FLAGS.settings or None,
        **values,
    )
    if tuned.run:
        print(summaries.table(tuned.run.metrics, tuned.run.config.task))
    print(tuned)
    print(f"next: python -m tfrec.train --model={FLAGS.model} --settings={tuned.settings}")


cli.make_callable("tfrec.tune", "tfrec.api.tuning")

COMMAND = cli.Command(
    main,
    FLAGS,
    "Searches for the settings of a model that are best on validation.",
    "python -m tfrec.tune --model=deeprec --dataset=ml-latest-small --trials=20",
)

if __name__ == "__main__":
    COMMAND.run()
