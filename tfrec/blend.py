"""Command: blends finished runs on one split; the weights are fitted on validation."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_list("runs", [], "the runs, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_string("run_dir", "", "where the blend is written", flag_values=FLAGS)


def main() -> None:
    """Blends the runs and prints a table."""
    runs, path = cli.require(FLAGS, "runs"), cli.require(FLAGS, "run_dir")
    cli.start_tensorflow()
    from tfrec.training import blend, summaries

    print(summaries.blend(blend.blend(runs, path)))


COMMAND = cli.Command(
    main,
    FLAGS,
    "Blends runs on ratings, with weights fitted on validation.",
    "python -m tfrec.blend --runs=runs/bayesianfm,runs/sparsefc --run_dir=runs/best",
)

if __name__ == "__main__":
    COMMAND.run()
