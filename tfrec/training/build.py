"""A run's model, before training."""

import keras
import tensorflow as tf

from tfrec.data import fields
from tfrec.models import registry
from tfrec.models.base import Recommender
from tfrec.models.capabilities import SideTables
from tfrec.schema import DatasetInfo
from tfrec.training.run_config import RunConfig


def build(config: RunConfig, info: DatasetInfo, strategy: tf.distribute.Strategy) -> Recommender:
    """A new model with the run's settings, initialized from its seed.

    Args:
        config: The run.
        info: Info of the data in its `data_dir`.
        strategy: The strategy under whose scope the weights are created.

    Raises:
        ValueError: as `Recommender.create`.
    """
    train = config.train
    keras.utils.set_random_seed(train.seed)
    if train.deterministic:
        tf.config.experimental.enable_op_determinism()
    plain = train.precision == "float32"
    keras.config.set_dtype_policy("float32" if plain else f"mixed_{train.precision}")
    with strategy.scope():
        model = registry.model_class(config.model).create(info, config.model_config)
        if isinstance(model, SideTables):
            model.take_tables(fields.read(config.data_dir))
    return model
