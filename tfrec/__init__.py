"""tfrec: from raw ratings or purchases to a recommender that answers on TF Serving.

    data = tfrec.Dataset.from_pandas(orders, user="customer", item="sku", time="bought_at")
    run = tfrec.fit("sasrec", data.split("last"), epochs=20)
    run.recommend(histories=[["a", "b"]], k=10)
    run.export("saved_models/shop")

The names below are imported when they are first used; all other names may change.
"""

import importlib
import typing

if typing.TYPE_CHECKING:  # what type checkers and editors see
    from tfrec import metrics, models, splits, tasks
    from tfrec.api.comparing import compare
    from tfrec.api.dataset import Dataset
    from tfrec.api.ensembling import ensemble
    from tfrec.api.fitting import fit
    from tfrec.api.prepared_data import PreparedData
    from tfrec.api.run import Run, load
    from tfrec.api.served import Served
    from tfrec.api.tuning import tune
    from tfrec.models import Recommender
else:

    def __getattr__(name: str):
        if name in _NAMES:
            return getattr(importlib.import_module(_NAMES[name]), name)
        if name in _MODULES:
            return importlib.import_module(f"tfrec.{name}")
        raise AttributeError(f"module 'tfrec' has no attribute {name!r}")


__version__ = "0.2.0"

_NAMES = {
    "Dataset": "tfrec.api.dataset",
    "PreparedData": "tfrec.api.prepared_data",
    "Recommender": "tfrec.models",
    "Run": "tfrec.api.run",
    "Served": "tfrec.api.served",
    "compare": "tfrec.api.comparing",
    "ensemble": "tfrec.api.ensembling",
    "fit": "tfrec.api.fitting",
    "load": "tfrec.api.run",
    "tune": "tfrec.api.tuning",
}
_MODULES = ("metrics", "models", "splits", "tasks")

__all__ = [
    "Dataset",
    "PreparedData",
    "Recommender",
    "Run",
    "Served",
    "__version__",
    "compare",
    "ensemble",
    "fit",
    "load",
    "metrics",
    "models",
    "splits",
    "tasks",
    "tune",
]


def __dir__() -> list[str]:
    return sorted(__all__)
