"""Metrics with TensorFlow Serving's names, in Prometheus' text format."""

import re

import prometheus_client

PATH = "/monitoring/prometheus/metrics"
# Microseconds, as in the real server: 10 * 1.8^i.
BUCKETS = tuple(10 * 1.8**i for i in range(33))


class Metrics:
    """The metrics of the server."""

    def __init__(self):
        prometheus_client.disable_created_metrics()
        self._registry = prometheus_client.CollectorRegistry()
        self._requests = prometheus_client.Counter(
            ":tensorflow:serving:request_count",
            "The total number of requests.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = self._histogram(
            "request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            "entrypoint",
        )
        self._runtime = self._histogram(
            "runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            "runtime",
        )

    def _histogram(self, name: str, text: str, label: str) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f":tensorflow:serving:{name}",
            text,
            ["model_name", "API", label],
            registry=self._registry,
            buckets=BUCKETS,
        )

    def answered(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Counts a request.

        Args:
            model: Name of the model.
            api: "Predict", "Classify" ...
            entrypoint: "GRPC" or "REST".
            status: Name of the status code.
            seconds: Duration.
        """
        self._requests.labels(model, status).inc()
        if status == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def ran(self, model: str, api: str, seconds: float) -> None:
        """Counts a run of the graph; its time includes the wait for a batch."""
        self._runtime.labels(model, api, "TF1").observe(seconds * 1e6)

    def text(self) -> str:
        """The page for Prometheus."""
        text = prometheus_client.generate_latest(self._registry).decode()
        # The library appends _total to a counter's name; TensorFlow Serving does not.
        return re.sub(r"(:tensorflow:serving:request_count)_total\b", r"\1", text)
