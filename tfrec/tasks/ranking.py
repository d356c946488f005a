"""Rankings: only the order of the scores counts, most of all that of the best items."""

from tfrec.metrics import RankingReport
from tfrec.tasks.base import Task

RANKING = Task(
    name="ranking",
    report=RankingReport,
    monitor="ndcg@100",
    shown=("ndcg@10", "ndcg@100", "recall@100"),
    table=(
        *("ndcg@10", "ndcg@100", "recall@10", "recall@100", "recall_min@20", "recall_min@50"),
        *("map@7", "recall@7", "hr@10", "mrr@100", "coverage@10", "n_rows"),
    ),
    words="scores that only have an order",
)
