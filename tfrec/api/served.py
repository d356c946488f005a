"""Recommendations from an exported or served model, with the API of a `Run`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfrec.api import recommending
from tfrec.api.prepared_data import PathLike
from tfrec.serving.predictor import History, Predictor


class Served(recommending.Recommends):
    """A SavedModel on disk, or a model of a running server.

        tfrec.Served("saved_models/shop").recommend(histories=[["a", "b"]], k=10)
        tfrec.Served("localhost:8500", model="shop").recommend(histories=[["a", "b"]])

    Args:
        target: A version's folder or the folder of versions; or "host:port" of TensorFlow Serving
            or `tfrec.serve`, by gRPC.
        model: Name of the served model; required for a server only.
        **options: As in `tfrec.serving.client.Client`.

    Raises:
        FileNotFoundError: there is no SavedModel, or the target is neither a folder nor an address.
        ValueError: a server without a model name.
    """

    def __init__(self, target: PathLike, model: str = "", **options: Any):
        self.asking = _open(target, model, options)

    def _asked(
        self,
        users: Sequence[str] | None,
        histories: Sequence[History] | Mapping[str, History] | None,
        k: int,
    ) -> recommending.Asked:
        return recommending.Asked(self.asking, users, histories)


def _open(target: PathLike, model: str, options: dict) -> Predictor:
    if pathlib.Path(target).is_dir():
        from tfrec.serving.local import OnDisk

        return OnDisk(target, **options)
    if ":" not in str(target):
        raise FileNotFoundError(f"{target} is neither a folder nor the address of a server")
    if not model:
        raise ValueError(f"{target} is a server: give the name of its model, model=NAME")
    from tfrec.serving.client import Client

    return Client(str(target), model, **options)
