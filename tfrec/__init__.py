"""tfrec: from raw ratings to a recommender that answers on TF Serving."""

__version__ = "0.1.0"
