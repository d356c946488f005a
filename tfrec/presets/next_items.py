"""Presets of next-item prediction, by sequence models."""

from tfrec.config import DataConfig
from tfrec.presets.entry import Preset

KLENITSKIY = "Klenitskiy and Vasilev, RecSys 2023 (antklen/sasrec-bert4rec-recsys23)"
ML1M_LAST = DataConfig(
    dataset="ml-1m", split="last", core=True, min_user_ratings=5, min_item_ratings=5
)
ZHAI = "Zhai et al., ICML 2024, ML-1M"
SASREC = dict(
    loss="sampled", negatives=1000, width=128, attention_dropout=0.0, dropout=0.2, slide=0.5
)
RECTOOLS = "RecTools, tutorial transformers_HSTU_tutorial.ipynb"
HSTU_LARGE = dict(blocks=8, heads=2, time_bias=True, hide_times=0.1)
HSTU_TRAIN = dict(epochs=100, patience=5, monitor="recall@10")  # no refit, as in the tutorial
SASREC_TRAIN = dict(
    epochs=40,
    batch_size=64,
    decay_epochs=(26, 31, 35, 38),
    average=0.995,
    monitor="ndcg@10",
    refit=True,
)

PRESETS: dict[str, Preset] = {
    "bert4rec-ml1m-last": Preset(
        model="bert4rec",
        data=ML1M_LAST,
        settings=dict(attention_dropout=0.0, dropout=0.1, mask=0.3),
        train=dict(
            optimizer="adam",
            weight_decay=0.0,
            learning_rate=1e-3,
            epochs=70,
            batch_size=64,
            decay_epochs=(52, 57, 62, 66),
            monitor="ndcg@10",
        ),
        published="HR@10 .2843, NDCG@10 .1537",
        source=KLENITSKIY,
        measured="HR@10 .2863, NDCG@10 .1599 test; .3035, .1662 validation; seed 0; 36 CPU min",
    ),
    "sasrec-ml1m-last": Preset(
        model="sasrec",
        data=ML1M_LAST,
        settings=SASREC,
        train=SASREC_TRAIN,
        published="HR@10 .3159, NDCG@10 .1857 (3,000 negatives)",
        source=KLENITSKIY,
        measured="HR@10 .3225, NDCG@10 .1851 test; .3401, .1950 validation; seed 0; 4,053 s",
    ),
    "sasrec-ml1m-lastall": Preset(
        model="sasrec",
        data=DataConfig(dataset="ml-1m", split="last"),
        settings=SASREC,
        train=SASREC_TRAIN,
        published="HR@10 .2853, NDCG@10 .1603 (SASRec)",
        source=ZHAI,
        measured="HR@10 .3156, NDCG@10 .1828 test; .3373, .1912 validation; seed 0; 5,481 s",
    ),
    "hstu-ml1m-last": Preset(
        model="hstu",
        data=ML1M_LAST,
        settings=dict(width=64, blocks=4, heads=2, negatives=1000, dropout=0.2, temperature=0.05),
        train=dict(
            epochs=28,
            batch_size=64,
            learning_rate=1e-3,
            decay_epochs=(16, 20, 23, 26),
            patience=5,
            monitor="ndcg@10",
        ),
        measured="HR@10 .2675, NDCG@10 .1485 test; .2813, .1557 validation; seed 0; 1,930 s",
    ),
    "hstu-ml1m-lastall": Preset(
        model="hstu",
        data=DataConfig(dataset="ml-1m", split="last"),
        settings=dict(HSTU_LARGE, hide_ask=0.9),
        train=HSTU_TRAIN,
    ),
    "hstu-ml1m-lastall-time": Preset(
        model="hstu",
        data=DataConfig(dataset="ml-1m", split="last", ask_time=True),
        settings=dict(HSTU_LARGE, hide_ask=0.0),
        train=HSTU_TRAIN,
        published="HR@10 .3642, NDCG@10 .2164 (HSTU-large)",
        source=RECTOOLS,
    ),
    "best-beauty-last": Preset(
        model="esasrec",
        data=DataConfig(dataset="tabular", split="last"),
        settings=dict(window=50, blocks=1, dropout=0.2),
        train=dict(monitor="recall@10"),
        published="Recall@10 .0928, NDCG@10 .0523 (eSASRec)",
        source="blondered/transformer_benchmark, README",
    ),
    "gru4rec-ml1m-last": Preset(
        model="gru4rec",
        data=ML1M_LAST,
        settings=dict(
            loss="sampled", negatives=1000, width=128, recurrent=(256,), dropout=0.2, slide=0.3
        ),
        train=dict(
            epochs=36,
            batch_size=64,
            learning_rate=2e-3,
            decay_epochs=(24, 28, 31, 34),
            average=0.995,
            monitor="ndcg@10",
        ),
        measured="HR@10 .3134, NDCG@10 .1817 test; .3311, .1886 validation; seed 0; 3,779 s",
    ),
}
