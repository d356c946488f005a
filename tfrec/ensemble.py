"""Command: an ensemble of finished runs on one split; its weights are chosen on validation."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_list("runs", [], "the runs, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_string("run_dir", "", "where the ensemble is written", flag_values=FLAGS)
flags.DEFINE_bool("overwrite", False, "replace a run that is in --run_dir", flag_values=FLAGS)


def main() -> None:
    """Flags, one call, a table."""
    runs, path = cli.require(FLAGS, "runs"), cli.require(FLAGS, "run_dir")
    cli.start_tensorflow()
    from tfrec.api import ensembling

    print(ensembling.carry_out(runs, path, FLAGS.overwrite))
    print(f"run: {path}   next: tfrec export --run_dir={path}")


cli.make_callable("tfrec.ensemble", "tfrec.api.ensembling")

COMMAND = cli.Command(
    main,
    FLAGS,
    "Combines finished runs into one; their weights are chosen on validation.",
    "python -m tfrec.ensemble --runs=runs/bayesianfm,runs/sparsefc --run_dir=runs/best",
)

if __name__ == "__main__":
    COMMAND.run()
