"""Options and credentials of a gRPC channel: limits, retries, load balancing, keepalive, TLS."""

import json

try:
    import grpc
except ImportError as error:
    raise ImportError("the client needs grpcio: pip install 'tfrec[serving]'") from error

SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
LONGEST_MESSAGE = 2**31 - 1  # bytes; scores soon exceed gRPC's default limit of 4 MB
POLICIES = ("round_robin", "pick_first")


def channel_options(
    attempts: int = 1, load_balancing: str = "round_robin", keepalive: float | None = None
) -> dict[str, int | str]:
    """Options of a channel by their names in gRPC.

    Args:
        attempts: Maximum number of attempts while the server is UNAVAILABLE; gRPC allows up to 5.
        load_balancing: "round_robin" over the addresses of the target, or "pick_first".
        keepalive: Seconds between pings on an idle connection; None: no pings.

    Raises:
        ValueError: an unknown load balancing policy.
    """
    if load_balancing not in POLICIES:
        raise ValueError(f"load_balancing={load_balancing!r}: known are {', '.join(POLICIES)}")
    options: dict[str, int | str] = {
        "grpc.max_receive_message_length": LONGEST_MESSAGE,
        "grpc.max_send_message_length": LONGEST_MESSAGE,
        "grpc.service_config": json.dumps(_service_config(attempts, load_balancing)),
    }
    if keepalive is not None:
        options |= {
            "grpc.keepalive_time_ms": int(1000 * keepalive),
            "grpc.keepalive_permit_without_calls": 1,
            "grpc.http2.max_pings_without_data": 0,  # no limit
        }
    return options


def _service_config(attempts: int, load_balancing: str) -> dict:
    config: dict = {"loadBalancingConfig": [{load_balancing: {}}]}
    if attempts > 1:
        policy = {
            "maxAttempts": attempts,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        names = [{"service": SERVICE}, {"service": MODEL_SERVICE}]
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
    return config


def credentials(
    tls: bytes | bool | None, client_key: bytes | None, client_certificate: bytes | None
) -> grpc.ChannelCredentials | None:
    """Credentials for TLS, or None without TLS.

    Args:
        tls: PEM of the certificate authority, or True for the system's authorities; None: no TLS.
        client_key: PEM of the client's private key, for servers that require a client certificate.
        client_certificate: PEM of the certificate of that key.

    Raises:
        ValueError: a key without its certificate or vice versa, or either without TLS.
    """
    if bool(client_key) != bool(client_certificate):
        raise ValueError("client_key and client_certificate belong together: give both")
    if not tls:
        if client_key:
            raise ValueError("client_key needs TLS: give tls=True, or the authority's PEM")
        return None
    authority = tls if isinstance(tls, bytes) else None
    return grpc.ssl_channel_credentials(authority, client_key, client_certificate)
