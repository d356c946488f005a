"""Presets of next-item prediction, by sequence models."""

from tfrec.config import DataConfig
from tfrec.presets.entry import EXACT, EnsemblePreset, Preset

KLENITSKIY = "Klenitskiy and Vasilev, RecSys 2023 (antklen/sasrec-bert4rec-recsys23)"
ML1M_LAST = DataConfig(
    dataset="ml-1m", split="last", core=True, min_user_ratings=5, min_item_ratings=5
)
BEAUTY_LAST = DataConfig(dataset="tabular", split="last")  # --raw: user, item, time
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
        published={"hr@10": 0.2843, "ndcg@10": 0.1537},
        source=KLENITSKIY,
        measured={
            "test": {"hr@10": 0.2863, "ndcg@10": 0.1599},
            "validation": {"hr@10": 0.3035, "ndcg@10": 0.1662},
        },
    ),
    "sasrec-ml1m-last": Preset(
        model="sasrec",
        data=ML1M_LAST,
        settings=SASREC,
        train=SASREC_TRAIN,
        published={"hr@10": 0.3159, "ndcg@10": 0.1857},
        protocol="3,000 negatives",
        source=KLENITSKIY,
        measured={
            "test": {"hr@10": 0.3225, "ndcg@10": 0.1851},
            "validation": {"hr@10": 0.3401, "ndcg@10": 0.195},
        },
    ),
    "sasrec-ml1m-lastall": Preset(
        model="sasrec",
        data=DataConfig(dataset="ml-1m", split="last"),
        settings=SASREC,
        train=SASREC_TRAIN,
        published={"hr@10": 0.2853, "ndcg@10": 0.1603},
        protocol="SASRec",
        source=ZHAI,
        measured={
            "test": {"hr@10": 0.3156, "ndcg@10": 0.1828},
            "validation": {"hr@10": 0.3373, "ndcg@10": 0.1912},
        },
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
        measured={
            "test": {"hr@10": 0.2675, "ndcg@10": 0.1485},
            "validation": {"hr@10": 0.2813, "ndcg@10": 0.1557},
        },
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
        published={"hr@10": 0.3642, "ndcg@10": 0.2164},
        protocol="HSTU-large",
        source=RECTOOLS,
    ),
    "ease-beauty-last": Preset(
        model="ease",
        data=BEAUTY_LAST,
        settings=dict(regularization=50.0),
        train=dict(refit=True),
        measured={
            "validation": {"recall@10": 0.0896, "ndcg@10": 0.0519},
            "test": {"recall@10": 0.0782, "ndcg@10": 0.0445},
        },
        tolerance=EXACT,
    ),
    "esasrec-beauty-last": Preset(
        model="esasrec",
        data=BEAUTY_LAST,
        settings=dict(window=50, blocks=1, dropout=0.2, negatives=1000, slide=0.5, popular=True),
        train=dict(monitor="recall@10", patience=5, refit=True),
        published={"recall@10": 0.0928, "ndcg@10": 0.0523},
        source="blondered/transformer_benchmark, README",
        measured={
            "validation": {"recall@10": 0.1068, "ndcg@10": 0.063},
            "test": {"recall@10": 0.0998, "ndcg@10": 0.0587},
        },
        seeds=(0, 1, 2),
    ),
    "sequentialrules-beauty-last": Preset(
        model="sequentialrules",
        data=BEAUTY_LAST,
        settings=dict(normalization=0.5),
        train=dict(refit=True),
        measured={
            "validation": {"recall@10": 0.1064, "ndcg@10": 0.0674},
            "test": {"recall@10": 0.0968, "ndcg@10": 0.0615},
        },
        tolerance=EXACT,
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
        measured={
            "test": {"hr@10": 0.3134, "ndcg@10": 0.1817},
            "validation": {"hr@10": 0.3311, "ndcg@10": 0.1886},
        },
    ),
}

ENSEMBLES: dict[str, EnsemblePreset] = {
    "best-beauty-last": EnsemblePreset(
        members=("esasrec-beauty-last", "sequentialrules-beauty-last", "ease-beauty-last"),
        published={"recall@10": 0.0928, "ndcg@10": 0.0531},
        source="blondered/transformer_benchmark, README: the best of each",
        measured={
            "validation": {"recall@10": 0.1207, "ndcg@10": 0.0745},
            "test": {"recall@10": 0.1109, "ndcg@10": 0.0684},
        },
    ),
}
