"""`Run.report`: what a run measured, as one page."""

from tfrec.api.reporting.report import refuse_unfinished, write

__all__ = ["refuse_unfinished", "write"]
