"""How much memory training a model takes, estimated before it is built."""

from typing import Any, ClassVar

from tfrec.config import TrainConfig
from tfrec.layers import list_order
from tfrec.schema import DatasetInfo

SIZES = ("hidden", "latent", "width", "embedding", "factors", "recurrent", "tower")
SLOTS = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 1, "adagrad": 1, "lbfgs": 20}
WIDE = 6  # tensors as wide as the catalogue: input, target, scores, their gradient and the like


class MemoryEstimate:
    """Part of `Recommender`: an estimate that models override where they know better.

    Attributes:
        instead: A model for data on which this one does not fit into memory.
    """

    instead: ClassVar[str] = ""
    reads: ClassVar[str]
    knows_users: ClassVar[bool]
    closed_form: ClassVar[bool]

    @classmethod
    def memory(cls, info: DatasetInfo, config: Any, train: TrainConfig) -> int:
        """About how many bytes training takes at its peak, beside those of an empty process.

        By default the float32 weights, their gradients, the optimizer's slots and the activations
        of a batch. As the weights count two vectors for each column, and one for each row where
        the model keeps those.
        """
        copies = 2 if cls.closed_form else 2 + SLOTS[train.optimizer] + bool(train.average)
        keeps_rows = cls.closed_form or cls.knows_users or cls.reads == "events"
        vectors = 2 * info.n_columns + keeps_rows * info.n_rows
        weights = vectors * (cls.size(config) + 1) * copies
        lists = info.n_items * (list_order.SIZE + 2)
        return 4 * (weights + lists + cls.activations(info, config, train))

    @classmethod
    def size(cls, config: Any) -> int:
        """The longest vector that the model keeps for a row or a column, by the names of SIZES."""
        given = [getattr(config, name, 0) for name in SIZES]
        return max(max(x, default=0) if isinstance(x, (tuple, list)) else x for x in given)

    @classmethod
    def activations(cls, info: DatasetInfo, config: Any, train: TrainConfig) -> int:
        """About how many numbers a training step holds besides the weights.

        By default some that are as wide as the catalogue for each row of the batch; for single
        events, some vectors for each.
        """
        wide = info.n_columns if cls.reads == "histories" else 16 * cls.size(config)
        return 0 if cls.closed_form else WIDE * train.batch_size * wide
