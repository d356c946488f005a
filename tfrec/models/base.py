"""What every model owes, and what it gets for it."""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from tfrec import config as config_lib
from tfrec import tasks
from tfrec.config import Settings, TrainConfig
from tfrec.models import clipping  # noqa: F401  so that saved optimizers load
from tfrec.schema import PAD, DatasetInfo
from tfrec.tasks import Task


class Recommender(keras.Model):
    """A Keras model with a loss of its own, plus five conventions; `compile` takes the optimizer.

    A subclass says what it is (the class attributes), brings its paper's numbers (a frozen
    `Config` and a `TrainConfig`), maps features to scores (`call`) and scores to one loss a
    row (`objective`). It may override `train_step`, or `fit` if it needs no gradient.

    Features are a flat dict of dense tensors: `user` int32 `[batch]` (-1: nobody the model
    knows; in training and evaluation an empty row that fills the last batch), `items` int32
    `[batch, length]` (padding -1) and `values` float32 `[batch, length]`. Targets are
    `target_items` and `target_values`, `[batch, length]`; in training they are the row itself.

    Attributes:
        task: "rating", "ranking", "ctr" or a `Task`: how it is measured and served; where it
            depends on the settings, `task_for` says it. Of a model, the task's name.
        reads: "histories" or "events": picks the reader.
        max_items: How many of a history's newest items the model looks at, or None for all:
            training batches hold rows of like length, counted up to this.
        needs_ids: Whether the data must name users and items.
        knows_users: Whether a model of histories has weights of known users, too.
        closed_form: True where `fit` solves instead of descending.
        paper: Training settings of the paper, the defaults of `tfrec.train`.
    """

    task: ClassVar[str | Task] = "rating"
    reads: ClassVar[str] = "histories"
    max_items: ClassVar[int | None] = None
    needs_ids: ClassVar[bool] = True
    knows_users: ClassVar[bool] = False
    closed_form: ClassVar[bool] = False
    paper: ClassVar[TrainConfig] = TrainConfig()

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """The model's numbers; the defaults are the paper's."""

    def __init__(self, info: DatasetInfo, config=None, **kwargs):
        super().__init__(**kwargs)
        self.info = info
        self.config = config or self.Config()
        task = self.task_for(self.config)
        self.task = task.name if isinstance(task, Task) else task

    @classmethod
    def rows(cls, config) -> str:
        """What a row is for this model, "user" or "item"; must match the prepared data."""
        return getattr(config, "rows", "user")

    @classmethod
    def task_for(cls, config) -> str | Task:
        """The task of this model with these settings, or its name."""
        return getattr(config, "task", cls.task)

    @property
    def task_object(self) -> Task:
        """All that depends on the task."""
        return tasks.named(self.task_for(self.config))

    @classmethod
    def create(cls, info: DatasetInfo, config=None, **kwargs) -> "Recommender":
        """Builds the model and makes its variables by one real call.

        Raises:
            ValueError: the data was prepared with rows of the other kind, has no ids, or does not
                fit the task, such as ratings that are all the same.
        """
        if cls.needs_ids and not info.has_ids:
            raise ValueError(
                f"{cls.__name__} learns users and items, {info.name} names neither: use a model of "
                "fields, such as --model=deepfm"
            )
        model = cls(info, config, **kwargs)
        wanted = cls.rows(model.config)
        if wanted != info.rows:
            can_change = hasattr(model.config, "rows")
            raise ValueError(
                f"{cls.__name__} with these settings reads rows by {wanted}, the data is prepared "
                f"with rows by {info.rows}: prepare another --data_dir with --data rows={wanted}"
                + (f", or train with --set rows={info.rows}" if can_change else "")
            )
        model.task_object.check(info, cls.__name__, hasattr(model.config, "task"))
        model(model.empty_features())
        return model

    @staticmethod
    def empty_features(batch: int = 1) -> dict[str, tf.Tensor]:
        """Features of `batch` rows without any rating."""
        return {
            "user": tf.fill([batch], PAD),
            "items": tf.fill([batch, 1], PAD),
            "values": tf.zeros([batch, 1]),
        }

    @property
    def undecayed(self) -> list[keras.Variable]:
        """Trainable weights that `--train weight_decay` spares.

        Biases hold means, and the gains and shifts of normalization a scale: 0 is no sensible value
        of theirs. By default these are all weights with "bias" in the name or fewer than two axes.
        """
        return [w for w in self.trainable_variables if "bias" in w.name or len(w.shape) < 2]

    @property
    def given(self) -> list[keras.Variable]:
        """Weights that hold data, nothing learned: a warm start leaves the new model's own."""
        return []

    @property
    def training_rows(self) -> int:
        """Rows with something to train on, at least 1: what a loss summed over rows is divided by.

        A model that is trained again on train + validation (`--train refit`) keeps those of train.
        """
        return max(1, self.info.row_counts.get("train", self.info.n_rows))

    def call(self, features, training=False):
        """Scores of all columns, `[batch, n_columns]`."""
        raise NotImplementedError

    def objective(self, features, targets, scores) -> tf.Tensor:
        """One loss a row, float32 `[batch]`; `scores` is all that `call` returned, in float32."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int, rows: tf.data.Dataset) -> None:
        """Called by the loop before each pass; most models have nothing to do here.

        Args:
            epoch: From 0; a resumed run goes on where it was.
            rows: All training rows, not yet distributed; the last batch may be filled up. In Keras'
                own `fit` the batches that it was given.
        """

    def fit(self, x=None, *args, callbacks=(), **kwargs):
        """Keras' `fit`, which calls `begin_epoch` as tfrec's loop does.

        Some models read `x` in it: it must end.
        """
        begin = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.begin_epoch(epoch, x)
        )
        return super().fit(x, *args, callbacks=[*(callbacks or ()), begin], **kwargs)

    def score(self, features) -> tf.Tensor:
        """What evaluation and serving rank and report: float32 `[batch, n_columns]`."""
        return tf.cast(self(features, training=False), tf.float32)

    def item_vectors(self) -> tf.Tensor | None:
        """Vectors whose cosine says how alike items are, `[n_items, size]`; None: it has none."""
        return None

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean of `objective` over the real rows, plus `add_loss` terms, for this replica.

        Gradients are summed over replicas, so both are divided by their number here, once
        and for all models.
        """
        del sample_weight, training
        y_pred = tf.nest.map_structure(_float32, y_pred)
        rows = self.objective(x, y, y_pred)
        real = tf.cast(x["user"] >= 0, tf.float32)
        mean = tf.math.divide_no_nan(tf.reduce_sum(rows * real), tf.reduce_sum(real))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return (mean + tf.add_n([0.0, *self.losses])) / replicas

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The loss only: reports are measured outside the training step."""
        return {"loss": self._loss_tracker.result()}

    def get_config(self):
        """All that `from_config` needs: the data's `info.json` and the model's settings."""
        return {
            **super().get_config(),
            "info": self.info.to_dict(),
            "config": config_lib.to_dict(self.config),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The inverse of `get_config`; the model comes back built."""
        fields = dict(config)
        info = DatasetInfo.from_dict(fields.pop("info"))
        settings = config_lib.from_dict(cls.Config, fields.pop("config"))
        return cls.create(info, settings, **fields)


def _float32(part: tf.Tensor) -> tf.Tensor:
    """Floats of any precision as float32; whole numbers as they are."""
    return tf.cast(part, tf.float32) if part.dtype.is_floating else part
