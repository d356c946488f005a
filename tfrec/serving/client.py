"""A client of TensorFlow Serving, real or local, that needs no TensorFlow.

    with Client("localhost:8500", "deeprec") as client:
        client.recommend([{"1": 5.0, "50": 3.0}])     # histories: raw item id -> rating
        client.recommend_users(["7", "12"])           # users known to the model

It imports grpcio, protobuf and numpy: a fraction of a second instead of TensorFlow's ten.
"""

from tfrec.serving.asking import Asking, Recommendation
from tfrec.serving.connection import Connection, RequestError

__all__ = ["Client", "Recommendation", "RequestError"]


class Client(Connection, Asking):
    """One model of one server; may be shared by threads.

    Args:
        target: "host:port", or "unix:/path" of a socket.
        model: The model's name.
        version: A version, else the latest that answers.
        label: A version's label, such as "stable", instead.
        timeout: Seconds that a call may take, its retries included.
        attempts: Calls in all where the server is UNAVAILABLE; gRPC allows 5 at most.
        rating: Of the items of a history that is given without ratings.
        batch_size: Rows of one request; longer lists are sent in several.
        tls: PEM of the certificate authority, or True for the system's own; None: no TLS.
        authority: The name on the server's certificate, where it is not the host's.
    """

    def __init__(
        self,
        target: str = "localhost:8500",
        model: str = "default",
        *,
        rating: float = 5.0,
        batch_size: int = 256,
        **options,
    ):
        super().__init__(target, model, **options)
        self.rating, self.batch_size = rating, batch_size
