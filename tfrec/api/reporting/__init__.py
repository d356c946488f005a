"""`Run.report`: the metrics of a run as one HTML page."""

from tfrec.api.reporting.report import refuse_unfinished, write

__all__ = ["refuse_unfinished", "write"]
