"""`Run.report`: the metrics of a run as one HTML page."""

from tfrec.api.reporting.report import write

__all__ = ["write"]
