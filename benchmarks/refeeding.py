"""DeepRec with and without dense re-feeding, side by side on validation.

    python benchmarks/refeeding.py [--preset=deeprec-ml1m-random90] [--out=runs/refeeding]

Trains the preset twice, with `aug_steps` 1 and 0, each with its own best epoch by validation,
and prints validation RMSE and the mean of (f(f(x)) - f(x))^2 over the validation users, x their
training ratings. The test set is not read.

The gap is what re-feeding is about. The two RMSEs are no comparison: one seed, and the preset's
settings were chosen with re-feeding, so that the run without is not tuned; --set and --train change
both.
"""

import dataclasses
import pathlib

from absl import flags

from tfrec import cli, presets
from tfrec import config as config_lib

FLAGS = flags.FlagValues()
flags.DEFINE_string("preset", "deeprec-ml1m-random90", "which", flag_values=FLAGS)
flags.DEFINE_multi_string("set", [], "model settings of both runs", flag_values=FLAGS)
flags.DEFINE_multi_string("train", [], "training numbers of both runs", flag_values=FLAGS)
flags.DEFINE_string("out", "runs/refeeding", "where the runs are written", flag_values=FLAGS)


def main() -> None:
    """Two runs, two lines."""
    import tensorflow as tf

    from tfrec.models import registry
    from tfrec.training import experiment, runs

    preset = presets.preset(FLAGS.preset)
    cls = registry.model_class(preset.model)
    for steps in (1, 0):
        settings = dataclasses.replace(cls.Config(), **preset.settings)
        settings = config_lib.override(settings, [*FLAGS["set"].value, f"aug_steps={steps}"])
        train = dataclasses.replace(cls.paper, **{**preset.train, "refit": False})
        config = runs.RunConfig(
            model=preset.model,
            settings=config_lib.to_dict(settings),
            data=preset.data,
            data_dir=experiment.default_data_dir(preset.data),
            train=config_lib.override(train, FLAGS["train"].value, "--train"),
        )
        run_dir = runs.RunDir(pathlib.Path(FLAGS.out) / f"aug{steps}")
        run_dir.start(config, overwrite=True)
        trial = experiment.Experiment(config, run_dir, tf.distribute.get_strategy())
        progress = trial.fit(resume=False)
        trial.restore()
        total = count = 0.0
        for features, _ in trial.batches("validation"):
            real = tf.cast(features["user"] >= 0, tf.float32)
            total += float(tf.reduce_sum(real * trial.model.fixed_point_gap(features)))
            count += float(tf.reduce_sum(real))
        print(
            f"aug_steps {steps}: validation rmse {progress.best:.4f} (epoch {progress.best_epoch} "
            f"of {progress.epoch}), mean (f(f(x)) - f(x))^2 {total / count:.4f}, "
            f"{progress.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main, FLAGS, "Compares re-feeding with none.", "python benchmarks/refeeding.py")
