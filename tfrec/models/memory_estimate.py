"""An estimate of the memory that training takes, before the model is built."""

from typing import Any, ClassVar

from tfrec.config import TrainConfig
from tfrec.layers import list_order
from tfrec.schema import DatasetInfo

SIZES = ("hidden", "latent", "width", "embedding", "factors", "recurrent", "tower")
SLOTS = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1, "adagrad": 1, "lbfgs": 20}
WIDE = 6  # tensors with a column for each item: input, target, scores, gradients ...


class MemoryEstimate:
    """Mixin of `Recommender`; models override the estimate where they can do better.

    Attributes:
        instead: Name of a model to suggest where this one does not fit into memory.
    """

    instead: ClassVar[str] = ""
    reads: ClassVar[str]
    knows_users: ClassVar[bool]
    closed_form: ClassVar[bool]

    @classmethod
    def memory(cls, info: DatasetInfo, config: Any, train: TrainConfig) -> int:
        """Estimated peak memory of training in bytes, beyond that of the empty process.

        By default it counts the float32 weights, their gradients, the optimizer's slots and the
        activations of a batch. Weights are two vectors for each column, and one for each row if the
        model has weights for rows.
        """
        copies = 2 if cls.closed_form else 2 + SLOTS[train.optimizer] + bool(train.average)
        keeps_rows = cls.closed_form or cls.knows_users or cls.reads == "events"
        vectors = 2 * info.n_columns + keeps_rows * info.n_rows
        weights = vectors * (cls.size(config) + 1) * copies
        lists = info.n_items * (list_order.SIZE + 2)
        return 4 * (weights + lists + cls.activations(info, config, train))

    @classmethod
    def size(cls, config: Any) -> int:
        """The largest of the settings in `SIZES`: the longest vector of a row or a column."""
        given = [getattr(config, name, 0) for name in SIZES]
        return max(max(x, default=0) if isinstance(x, (tuple, list)) else x for x in given)

    @classmethod
    def activations(cls, info: DatasetInfo, config: Any, train: TrainConfig) -> int:
        """Estimated number of values that a training step holds besides the weights.

        By default a few values for each item and row of the batch; for models of events, a few
        vectors for each event.
        """
        wide = info.n_columns if cls.reads == "histories" else 16 * cls.size(config)
        return 0 if cls.closed_form else WIDE * train.batch_size * wide
