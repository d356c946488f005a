"""DeepRec with and without dense re-feeding, both tuned, side by side on validation.

    python benchmarks/refeeding.py [--preset=deeprec-ml1m-random90] [--out=runs/refeeding]

Both sides, `aug_steps` 1 and 0, try the same --dropouts with seed 0; the best by validation RMSE is
trained with the other --seeds, too. A step of re-feeding is an update, so that the side without has
twice as many epochs, with its learning rate halved at the same updates. Prints validation RMSE and
the mean of (f(f(x)) - f(x))^2 over the validation users, x their training ratings, which re-feeding
is meant to reduce. The test set is not read.
"""

import dataclasses
import pathlib
import statistics

from absl import flags

from tfrec import cli, presets
from tfrec import config as config_lib

FLAGS = flags.FlagValues()
flags.DEFINE_string("preset", "deeprec-ml1m-random90", "which", flag_values=FLAGS)
flags.DEFINE_list("dropouts", ["0.3", "0.5", "0.7"], "tried on both sides", flag_values=FLAGS)
flags.DEFINE_integer("seeds", 3, "of the best dropout", 1, flag_values=FLAGS)
flags.DEFINE_multi_string("set", [], "model settings of both sides", flag_values=FLAGS)
flags.DEFINE_multi_string("train", [], "training numbers of both sides", flag_values=FLAGS)
flags.DEFINE_string("out", "runs/refeeding", "where the runs are written", flag_values=FLAGS)


def main() -> None:
    """A line for each run, and one for each side."""
    import tfrec

    preset = presets.preset(FLAGS.preset)
    given = config_lib.to_dict(preset.data)
    data = tfrec.Dataset.load(given.pop("dataset")).split(given.pop("split"), **given)
    for steps in (1, 0):
        tried = {dropout: trained(data, preset, steps, dropout, 0) for dropout in FLAGS.dropouts}
        best = min(tried, key=tried.__getitem__)
        others = [trained(data, preset, steps, best, seed) for seed in range(1, FLAGS.seeds)]
        errors = [tried[best], *others]
        spread = f" +- {statistics.stdev(errors):.4f}" if others else ""
        print(
            f"aug_steps {steps}, dropout {best}: validation rmse "
            f"{statistics.mean(errors):.4f}{spread} over {len(errors)} seeds",
            flush=True,
        )


def trained(data, preset: presets.Preset, steps: int, dropout: str, seed: int) -> float:
    """The validation RMSE of a run, which is printed."""
    import tfrec

    run = tfrec.fit(
        preset.model,
        data,
        run_dir=pathlib.Path(FLAGS.out) / f"aug{steps}-dropout{dropout}-seed{seed}",
        overwrite=True,
        check_export=False,
        test=False,
        **settings(preset, steps, dropout, seed),
    )
    found = run.metrics
    error = found["validation"]["rmse"]
    print(
        f"aug_steps {steps}, dropout {dropout}, seed {seed}: validation rmse {error:.4f} "
        f"(epoch {found['best_epoch']} of {found['epochs']}), mean (f(f(x)) - f(x))^2 "
        f"{gap(run):.4f}, {found['cpu_seconds']:.0f} CPU s",
        flush=True,
    )
    return error


def settings(preset: presets.Preset, steps: int, dropout: str, seed: int) -> dict:
    """The preset's settings of model and training, with the same number of updates."""
    from tfrec.models import MODELS

    cls = MODELS[preset.model]
    model = dataclasses.replace(cls.Config(), **preset.settings)
    own = [f"aug_steps={steps}", f"dropout={dropout}", *FLAGS["set"].value]
    model = config_lib.override(model, own)
    train = dataclasses.replace(cls.paper, **{**preset.train, "refit": False, "seed": seed})
    train = config_lib.override(train, FLAGS.train, "--train")
    times = 1 if steps else 2
    train = dataclasses.replace(
        train,
        epochs=times * train.epochs,
        decay_epochs=tuple(times * epoch for epoch in train.decay_epochs),
    )
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
