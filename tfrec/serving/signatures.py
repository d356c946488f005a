"""Creates the signatures of a model's export."""

import pathlib

from tfrec.models.base import Recommender
from tfrec.models.ensemble import Ensemble
from tfrec.serving.answers import Answers
from tfrec.serving.ensembles import EnsembleTopK
from tfrec.serving.event_scores import EventScores
from tfrec.serving.known_users import EventTopK, ItemRowTopK, KnownHistoryTopK
from tfrec.serving.top_k import HistoryTopK


def make(
    model: Recommender,
    data_dir: str | pathlib.Path,
    k: int,
    titles_file: pathlib.Path,
    with_ratings: bool = True,
) -> Answers:
    """The signatures of a model.

    Args:
        model: A trained model.
        data_dir: The directory of its prepared data.
        k: Number of items of an answer.
        titles_file: The file to which the titles are written; an asset of the export.
        with_ratings: Read the ratings of known users. False is fast, but the answers are not
            usable: it is for checking whether a model can be exported.
    """
    if isinstance(model, Ensemble) and model.reads == "events":
        return EnsembleTopK(model, data_dir, k, titles_file, with_ratings)
    if model.reads == "events":
        if not model.info.has_ids:
            return EventScores(model, data_dir)
        return EventTopK(model, data_dir, k, titles_file, with_ratings)
    if model.info.rows == "item":
        return ItemRowTopK(model, data_dir, k, titles_file, with_ratings)
    if model.knows_users:
        return KnownHistoryTopK(model, data_dir, k, titles_file, with_ratings)
    return HistoryTopK(model, data_dir, k, titles_file)
