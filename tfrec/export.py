"""Command: exports a trained run as a SavedModel version for TF Serving."""

import os

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("run_dir", "", "the run, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_list(
    "retrieve",
    [],
    "with --rank: runs whose best items are the candidates, instead of --run_dir",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "rank",
    "",
    "with --retrieve: the run of a model of fields or events that ranks the candidates",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "candidates", 200, "from each run of --retrieve", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_string(
    "export_dir",
    "",
    "base path (default: saved_models/<model>, or saved_models/two_stage)",
    flag_values=FLAGS,
)
flags.DEFINE_integer("k", 20, "items in a response", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_enum(
    "index",
    "exact",
    ["exact", "ivf", "tfrs"],
    "retrieval of the best items: exact, in blocks for many items; ivf: an approximate index of "
    "inverted lists, for models with item vectors; tfrs: brute force of TensorFlow Recommenders, "
    "which is also exact",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "recall",
    0.95,
    "ivf: required share of the exact k best items in responses, which is measured and recorded",
    flag_values=FLAGS,
)


def main() -> None:
    """Exports the run and prints a request that works."""
    check_flags()
    if FLAGS.index == "tfrs":
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # must be set before TensorFlow is imported
    cli.start_tensorflow()
    from tfrec.api import run
    from tfrec.serving import export_metadata

    found = run.load(FLAGS.rank or FLAGS.run_dir)
    retrievers = [run.load(path) for path in FLAGS.retrieve]
    print("exporting, then replaying requests in a fresh process ...", flush=True)
    name = "two_stage" if FLAGS.rank else found.config.model
    export_dir = FLAGS.export_dir or f"saved_models/{name}"
    if FLAGS.rank:
        version = found.export_ranking(retrievers, export_dir, FLAGS.k, FLAGS.candidates)
    else:
        version = found.export(export_dir, FLAGS.k, FLAGS.index, FLAGS.recall)
    print(f"exported: {version}\n")
    print(export_metadata.summary(version))
    print(f"\nserve: tensorflow_model_server --model_name={version.parent.name} \\")
    print(f"  --rest_api_port=8501 --model_base_path={version.parent}")
    print(f"more requests, and what they mean: {version / export_metadata.README}")


def check_flags() -> None:
    """Refuses flags that do not go together."""
    if FLAGS["recall"].present and FLAGS.index != "ivf":
        raise ValueError("--recall is for --index=ivf; the others are exact: leave it out")
    if not (FLAGS.rank or FLAGS.retrieve):
        cli.require(FLAGS, "run_dir")
        return
    if not (FLAGS.rank and FLAGS.retrieve):
        raise ValueError("--retrieve and --rank go together: give both, or --run_dir alone")
    if FLAGS.run_dir or FLAGS.index != "exact":
        raise ValueError("--retrieve and --rank go without --run_dir and --index: leave them out")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Writes EXPORT_DIR/<version>: raw ids and ratings in, top-k raw ids, titles, scores out.",
    "python -m tfrec.export --run_dir=runs/deeprec --export_dir=saved_models/deeprec",
)

if __name__ == "__main__":
    COMMAND.run()
