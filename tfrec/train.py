"""Command: trains a model, keeps the best epoch by validation, evaluates the test set once."""

import dataclasses
import itertools
import pathlib

from absl import flags

from tfrec import cli, data_flags, interrupts, names, presets, reference, settings_file
from tfrec import config as config_lib
from tfrec.config import DataConfig, TrainConfig

FLAGS = flags.FlagValues()
flags.DEFINE_string("preset", "", "a published experiment, see --list_presets", flag_values=FLAGS)
flags.DEFINE_bool("list_presets", False, "print all presets and exit", flag_values=FLAGS)
flags.DEFINE_bool(
    "list_settings",
    False,
    "print all settings with the values of the other flags, and exit",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "model",
    "",
    "the model; auto: the best of a few quick ones by validation (default: deeprec, or auto if "
    "the data has no ratings)",
    flag_values=FLAGS,
)
data_flags.define(FLAGS, "prepared data (default: a folder of the cache)")
flags.DEFINE_multi_string(
    "set", [], "name=value of the model's settings, such as dropout=0.5", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "train", [], "name=value of training, such as epochs=10", flag_values=FLAGS
)
flags.DEFINE_string(
    "settings", "", "a file of settings, such as best.json of tfrec.tune", flag_values=FLAGS
)
flags.DEFINE_integer("seed", None, "seed of weights, shuffling, dropout", flag_values=FLAGS)
flags.DEFINE_string("strategy", "one", "one, mirrored or multiworker", flag_values=FLAGS)
flags.DEFINE_integer("replicas", 0, "mirrored: devices, 0 for all", flag_values=FLAGS)
flags.DEFINE_string(
    "run_dir", "", "where the run is written (default: runs/<model>)", flag_values=FLAGS
)
flags.DEFINE_string("warm_start", "", "an earlier run to start from, by raw id", flag_values=FLAGS)
flags.DEFINE_bool(
    "resume",
    False,
    "continue an interrupted run at the step where it was saved; SIGTERM and Ctrl-C save and exit "
    f"with {interrupts.SAVED}",
    flag_values=FLAGS,
)
flags.DEFINE_bool("overwrite", False, "replace the run in --run_dir", flag_values=FLAGS)
flags.DEFINE_bool(
    "profile",
    False,
    "record the first steps of the second epoch for TensorBoard's profiler (--train profile=true)",
    flag_values=FLAGS,
)
flags.DEFINE_bool("dry_run", True, "first check that the model can be exported", flag_values=FLAGS)


def resolve(preset: str, model: str = ""):
    """The run given by the flags: preset or prepared data, overridden by the other flags.

    Args:
        preset: A preset's name, or "".
        model: Used instead of --model.
    """
    from tfrec.data import prepared
    from tfrec.models import registry
    from tfrec.training import run_config

    base = presets.preset(preset) if preset else presets.Preset("deeprec")
    name = model or model_name(base)
    cls = registry.model_class(name)
    settings, train = cls.Config(), cls.defaults
    if preset and name == base.model:
        settings = dataclasses.replace(settings, **{**cls.paper_settings, **base.settings})
        train = dataclasses.replace(cls.paper, **base.train)
    if FLAGS.settings:
        found = settings_file.load(FLAGS.settings)
        settings, train = found.apply_to(settings, train, FLAGS.settings)
    settings = config_lib.override(settings, FLAGS["set"].value, "--set")
    train = config_lib.replaced(train, training(), "--train")
    data, raw = data_settings(base, cls.rows(settings)), data_flags.sources(FLAGS)
    return run_config.RunConfig(
        model=name,
        settings=config_lib.to_dict(settings),
        data=data,
        data_dir=absolute(FLAGS.data_dir or prepared.default_dir(data, raw)),
        train=train,
        strategy=FLAGS.strategy,
        replicas=FLAGS.replicas,
        preset=preset,
        warm_start=absolute(FLAGS.warm_start),
        versions=run_config.versions(),
    )


def model_name(preset: presets.Preset) -> str:
    """The model given by the flags, the file of settings, or the preset.

    Raises:
        ValueError: --model differs from the model of --settings.
    """
    found = settings_file.load(FLAGS.settings) if FLAGS.settings else None
    name = FLAGS.model or (found.model if found else preset.model)
    if found:
        found.refuse_other_model(name, FLAGS.settings)
    return name


def training() -> dict:
    """Settings of training given by the flags, by name."""
    own = {} if FLAGS.seed is None else {"seed": FLAGS.seed}
    own |= {"profile": True} if FLAGS.profile else {}
    return config_lib.parsed(TrainConfig, FLAGS["train"].value, "--train") | own


def resolve_auto(preset: str):
    """The run of --model=auto, whose candidates have their own settings."""
    config = resolve(preset, "deeprec")
    return dataclasses.replace(config, model=names.AUTO, settings={})


def data_settings(preset: presets.Preset, rows: str = "") -> DataConfig:
    """Settings of the data: those of --data_dir, else of the preset, overridden by the flags.

    Args:
        preset: The preset.
        rows: The kind of rows that the model needs; prepared data has its own.
    """
    there = prepared_data()
    base = there or preset.data or DataConfig()
    return data_flags.settings(FLAGS, base, rows="" if there else rows)


def absolute(path: str) -> str:
    """The absolute path, so that it is valid from any folder; "" stays ""."""
    return str(pathlib.Path(path).absolute()) if path else ""


def prepared_data() -> DataConfig | None:
    """The settings that --data_dir was prepared with, unless a preset is given."""
    from tfrec import schema

    if not FLAGS.data_dir or (FLAGS.preset and presets.preset(FLAGS.preset).data):
        return None
    if not (pathlib.Path(FLAGS.data_dir) / schema.INFO_FILE).exists():
        return None
    return config_lib.from_dict(DataConfig, schema.DatasetInfo.load(FLAGS.data_dir).config)


def main() -> None:
    """Trains the model and prints a summary."""
    if FLAGS.list_presets:
        print(presets.table())
        return
    members = presets.ENSEMBLES[FLAGS.preset].members if FLAGS.preset in presets.ENSEMBLES else ()
    refuse_flags_of(members)
    if not members:
        refuse_unknown_names()
    cli.start_tensorflow()
    if FLAGS.list_settings:
        print("\n\n".join(listing(resolve(name)) for name in members or [FLAGS.preset]))
        return
    from tfrec.training import strategies, workers

    with workers.naming_missing():
        strategy = strategies.make(FLAGS.strategy, FLAGS.replicas)
    if members:
        run_ensemble(members, FLAGS.run_dir or f"runs/{FLAGS.preset}", strategy)
    else:
        run(FLAGS.preset, FLAGS.run_dir, strategy)


def listing(config) -> str:
    """The settings of a run by flag, with values, ranges and descriptions.

    Args:
        config: A `RunConfig`.
    """
    parts = {
        f"--set, settings of {config.model}:": config.model_config,
        "--train, settings of training:": config.train,
        "--data, settings of the data:": config.data,
        f"--data, settings of split={config.data.split}:": config.data.rule,
    }
    return "\n\n".join(reference.table(part, title) for title, part in parts.items())


def refuse_flags_of(members: tuple[str, ...]) -> None:
    """Refuses flags whose meaning differs between the members of an ensemble."""
    own = ("model", "dataset", "data_dir", "split", "data", "columns", "set", "train", "warm_start")
    for name in (*own, "settings", "items", "users", "train_raw", "validation_raw", "test_raw"):
        if members and FLAGS[name].value:
            raise ValueError(
                f"--{name} with --preset={FLAGS.preset}, an ensemble of {', '.join(members)}: "
                "train each by itself with the flags it needs, then `python -m tfrec.ensemble`"
            )


def refuse_unknown_names() -> None:
    """Refuses mistyped names before TensorFlow is imported; `resolve` refuses the rest."""
    preset = presets.preset(FLAGS.preset) if FLAGS.preset else presets.Preset("deeprec")
    if FLAGS.model == names.AUTO:
        refuse_flags_of_one_model()
    model = model_name(preset)
    if model != names.AUTO:
        names.refuse_model(model)
    names.refuse_data_set(FLAGS.dataset)
    names.refuse_settings(model, FLAGS["set"].value)
    config_lib.override(TrainConfig(), FLAGS["train"].value, "--train")
    data_settings(preset)


def refuse_flags_of_one_model() -> None:
    """Refuses flags for a single model if several are tried."""
    own = ("set", "settings", "warm_start", "list_settings")
    given = [name for name in own if FLAGS[name].value]
    if given:
        raise ValueError(
            f"--{given[0]} is for one model, --model=auto tries several: give a model, or leave "
            f"--{given[0]} out"
        )


def run_ensemble(members: tuple[str, ...], path: str, strategy) -> None:
    """Trains the members below `path`, then combines them; --resume keeps finished ones."""
    from tfrec.api import ensembling
    from tfrec.training import strategies

    for name in members:
        run(name, f"{path}/{name}", strategy)
    if strategies.is_chief(strategy):
        runs = [f"{path}/{name}" for name in members]
        print(ensembling.carry_out(runs, path, FLAGS.resume or FLAGS.overwrite))


def run(preset: str, path: str, strategy) -> None:
    """One run and its summary."""
    from tfrec.api import choosing, fitting
    from tfrec.training import summaries

    config = resolve_auto(preset) if FLAGS.model == names.AUTO else resolve(preset)
    if not (preset or FLAGS.model or FLAGS.settings) and not has_ratings(config):
        print("no --model is given, and the data has no ratings: --model=auto", flush=True)
        refuse_flags_of_one_model()
        config = resolve_auto(preset)
    path = path or f"runs/{preset or config.model}"
    options = {
        "raw": data_flags.sources(FLAGS),
        "strategy": strategy,
        "resume": FLAGS.resume,
        "overwrite": FLAGS.overwrite,
        "dry_run": FLAGS.dry_run,
    }
    if config.model == names.AUTO:
        trial = choosing.choose(config, path, training(), **options)
    else:
        trial = fitting.carry_out(config, path, **options)
    print(summaries.table(trial.result, trial.task_object))
    print(f"run: {path}   next: {summaries.next_step(trial.info, path, config.data_dir)}")
    grew = summaries.loss_grew(trial.result)
    for line in itertools.chain(grew, summaries.below_floors(trial.result, trial.config.model)):
        print(line)


def has_ratings(config) -> bool:
    """Whether the data of a `RunConfig` has ratings; prepares it if this is unknown before."""
    from tfrec.data import prepared
    from tfrec.datasets import registry
    from tfrec.training import candidates

    if known := registry.known_range(config.data):
        return candidates.are_ratings(*known)
    info = prepared.ensure(config.data, config.data_dir, data_flags.sources(FLAGS))
    return candidates.has_ratings(info)


COMMAND = cli.Command(
    main,
    FLAGS,
    "Trains a model and evaluates it.",
    "python -m tfrec.train --model=deeprec --dataset=ml-latest-small --run_dir=runs/deeprec",
)

if __name__ == "__main__":
    COMMAND.run()
