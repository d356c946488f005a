"""DeepRec with and without dense re-feeding, side by side on validation.

    python benchmarks/refeeding.py [--preset=deeprec-ml1m-random90] [--out=runs/refeeding]

Trains the preset twice, with `aug_steps` 1 and 0, each with its own best epoch by validation,
and prints validation RMSE and the mean of (f(f(x)) - f(x))^2 over the validation users, x their
training ratings. The test set is not read.

Re-feeding is meant to reduce this gap. The two RMSEs are not a fair comparison: there is one seed,
and the preset's settings were chosen with re-feeding, so that the run without is not tuned; --set
and --train change both.
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
    import tfrec

    preset = presets.preset(FLAGS.preset)
    given = config_lib.to_dict(preset.data)
    data = tfrec.Dataset.load(given.pop("dataset")).split(given.pop("split"), **given)
    for steps in (1, 0):
        run = tfrec.fit(
            preset.model,
            data,
            run_dir=pathlib.Path(FLAGS.out) / f"aug{steps}",
            overwrite=True,
            check_export=False,
            test=False,
            **{**settings(preset), "aug_steps": steps},
        )
        found = run.metrics
        print(
            f"aug_steps {steps}: validation rmse {found['validation']['rmse']:.4f} "
            f"(epoch {found['best_epoch']} of {found['epochs']}), "
            f"mean (f(f(x)) - f(x))^2 {gap(run):.4f}, {found['seconds']:.0f} s",
            flush=True,
        )


def settings(preset: presets.Preset) -> dict:
    """The preset's settings of model and training, overridden by the flags."""
    from tfrec.models import MODELS

    cls = MODELS[preset.model]
    model = dataclasses.replace(cls.Config(), **preset.settings)
    model = config_lib.override(model, FLAGS["set"].value)
    train = dataclasses.replace(cls.paper, **{**preset.train, "refit": False})
    train = config_lib.override(train, FLAGS["train"].value, "--train")
    return config_lib.to_dict(model) | config_lib.to_dict(train)


def gap(run) -> float:
    """The mean over the validation users of (f(f(x)) - f(x))^2."""
    import tensorflow as tf

    from tfrec.data import inputs

    total = count = 0.0
    for features, _ in inputs.histories(run.data_dir, run.info, "validation", 512, fill=True):
        real = tf.cast(features["user"] >= 0, tf.float32)
        total += float(tf.reduce_sum(real * run.model.fixed_point_gap(features)))
        count += float(tf.reduce_sum(real))
    return total / count


if __name__ == "__main__":
    cli.run(main, FLAGS, "Compares re-feeding with none.", "python benchmarks/refeeding.py")
