"""The public API as its users call it: from a frame to recommendations, and back from disk."""

import json
import pathlib
import re

import keras
import numpy as np
import pandas as pd
import pytest
from commands_test import run as command

import tfrec
from tfrec.api import all_users
from tfrec.models import MODELS

SIZE = 24


def orders(n_users=SIZE):
    """Users with even numbers buy the even items, each in another order; no ratings."""
    random = np.random.default_rng(0)
    pairs = [(u, i) for u in range(n_users) for i in range(SIZE) if (u + i) % 2 == 0 and i != u]
    pairs = [pairs[i] for i in random.permutation(len(pairs))]
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(len(pairs)), "h")
    frame = pd.DataFrame(pairs, columns=["customer", "sku"]).assign(bought=days)
    return frame.assign(customer=frame["customer"] + 1000, sku="s" + frame["sku"].astype(str))


def stars():
    """The same with ratings: 5 for liked items, 1 for the others."""
    pairs = [(f"u{u}", f"i{i}", 5.0 if (u + i) % 2 == 0 else 1.0, u * SIZE + i)
             for u in range(SIZE) for i in range(SIZE) if i != u]  # fmt: skip
    return pd.DataFrame(pairs, columns=["user", "item", "rating", "time"])


PRODUCTS = pd.DataFrame(
    {
        "sku": [f"s{i}" for i in range(SIZE)],
        "title": [f"Product {i}" for i in range(SIZE)],
        "price": np.arange(SIZE) * 1.5,
        "tags": [["new", "blue"] if i % 2 else ["old"] for i in range(SIZE)],
    }
)
SHOP = {"user": "customer", "item": "sku", "time": "bought"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Prepared data and runs of this file."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFREC_CACHE", str(folder / "cache"))
        patch.delenv("TFREC_DATA", raising=False)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def shop(cache):
    """Orders, the last one of each customer held out."""
    return tfrec.Dataset.from_pandas(orders(), items=PRODUCTS, **SHOP, name="shop").split("last")


@pytest.fixture(scope="module")
def run(shop):
    """EASE on the orders."""
    return tfrec.fit("ease", shop, regularization=1.0, verbose=False, check_export=False)


@pytest.fixture(scope="module")
def rated(cache):
    """Ratings, split at random."""
    return tfrec.Dataset.from_pandas(stars(), rating="rating", time="time").split(seed=3)


# ------------------------------------------------------------------ data


def test_a_data_set_says_what_it_holds(cache):
    data = tfrec.Dataset.from_pandas(orders(), items=PRODUCTS, **SHOP, name="shop")
    text = repr(data)
    assert re.search(r"^interactions\s+264$", text, re.M), text
    assert re.search(r"^users\s+24$", text, re.M) and re.search(r"^items\s+24$", text, re.M)
    assert "2024-01-01 to 2024-01-11" in text
    assert re.search(r"^fields\s+title \(text\), price \(number\), tags \(set\)$", text, re.M)
    assert re.search(r"^ratings\s+none", text, re.M)
    assert data._repr_html_().count("<tr>") == len(text.splitlines())


def test_only_fields_that_are_there_are_listed():
    assert str(tfrec.Dataset.load("ml-latest-small")).endswith(
        "title (text), genres (set), year (bucket)"
    )


def test_ids_times_and_fields_of_any_type(shop):
    ids = (shop.data_dir / "users.txt").read_text().split()
    assert ids[0] == "1000" and len(ids) == SIZE
    kinds = {field.name: field.kind for field in shop.info.fields if field.of == "item"}
    assert kinds == {"title": "text", "price": "number", "tags": "set"}
    assert shop.info.protocol.startswith("shop, leave-one-out by time")
    assert "24 test" in repr(shop)


def test_the_same_data_and_settings_are_prepared_once(shop):
    data = tfrec.Dataset.from_pandas(orders(), items=PRODUCTS, **SHOP, name="shop")
    assert data.split("last").data_dir == shop.data_dir
    assert data.split(tfrec.splits.LastOut()).data_dir == shop.data_dir
    assert data.split("last", validation=0).data_dir != shop.data_dir
    changed = orders()
    changed.loc[3, "sku"] = "s99"
    other = tfrec.Dataset.from_pandas(changed, items=PRODUCTS, **SHOP, name="shop").split("last")
    assert other.data_dir != shop.data_dir


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: tfrec.Dataset.from_pandas(orders()),
            "no column 'user' for user: .*known: customer",
        ),
        (lambda: tfrec.Dataset.from_pandas(orders(), **SHOP | {"item": "skus"}), "mean 'sku'"),
        (lambda: tfrec.Dataset.from_pandas(orders()[:0], **SHOP), "the frame is empty"),
        (
            lambda: tfrec.Dataset.from_pandas(orders().assign(sku=[None] * 264), **SHOP),
            "the frame, row 1, column sku: the item id is missing; 264 rows have",
        ),
        (
            lambda: tfrec.Dataset.from_pandas(stars().assign(rating=["x"] * 552), rating="rating"),
            "column rating: .* cannot be read as value",
        ),
        (
            lambda: tfrec.Dataset.from_pandas(
                orders(), items=pd.concat([PRODUCTS, PRODUCTS]), **SHOP
            ).split("last"),
            "item 's0' has more than one row; keep one",
        ),
        (
            lambda: tfrec.Dataset.from_pandas(orders(), user="customer", item="sku").split("last"),
            "needs times, but frame has none",
        ),
        (
            lambda: tfrec.Dataset.from_pandas(orders(), **SHOP).split("lasst"),
            "split=lasst is unknown; did you mean 'last'",
        ),
        (
            lambda: tfrec.Dataset.from_pandas(orders(), **SHOP).split(tset=0.2),
            "the split has no setting 'tset'; did you mean 'test'",
        ),
        (
            lambda: tfrec.Dataset.from_pandas(orders(), **SHOP).split(test="much"),
            "test='much' of the split is str, not float",
        ),
        (lambda: tfrec.Dataset.load("ml-2m"), "no such data set; did you mean"),
    ],
    ids=range(11),
)
def test_what_cannot_be_read_or_split_is_named(cache, make, expected):
    with pytest.raises(ValueError, match=expected):
        repr(make())


def test_files_and_known_sets(cache):
    orders().to_csv(cache / "orders.csv", index=False)
    data = tfrec.Dataset.read(cache / "orders.csv", **SHOP)
    assert data.summary.interactions == 264
    assert data.split("time", test=0.2).info.n_users == SIZE
    small = tfrec.Dataset.load("ml-latest-small")
    assert (small.summary.users, small.summary.items) == (610, 9724)


def test_given_parts_are_used_as_they_are(cache):
    frame = orders()
    parts = frame[:200], frame[200:230], frame[230:]
    parts[0].to_csv(cache / "train.csv", index=False)
    split = tfrec.Dataset.split_files(cache / "train.csv", parts[2], parts[1], **SHOP)
    n = split.info.n_ratings
    assert (n["train"], n["validation"], n["test"]) == tuple(map(len, parts))
    assert "parts as given with its own validation" in split.info.protocol
    drawn = tfrec.Dataset.split_files(parts[0], frame[200:], validation=0.1, **SHOP)
    assert drawn.info.n_ratings["validation"] == 20
    with pytest.raises(ValueError, match="rated .* twice|more than once|duplicate"):
        tfrec.Dataset.split_files(parts[0], parts[0], **SHOP)


# ------------------------------------------------------------------ fit


def test_a_run_says_its_main_figures(run):
    figures, protocol = repr(run).splitlines()
    assert re.findall(r"([\w@]+) \d\.\d{4}", figures) == ["ndcg@10", "ndcg@100", "recall@100"]
    assert protocol == run.metrics["protocol"]


def test_from_a_frame_to_a_served_answer(cache):
    data = tfrec.Dataset.from_pandas(orders(), items=PRODUCTS, **SHOP)
    run = tfrec.fit("ease", data.split("last"), regularization=1.0)
    run.export("saved_models/shop", k=5)
    served = tfrec.Served("saved_models/shop").recommend(histories=[["s0", "s2"]], k=3)
    ours = run.recommend(histories=[["s0", "s2"]], k=3)
    pd.testing.assert_frame_equal(served, ours)
    assert set(ours["item"].str[1:].astype(int) % 2) == {0}
    assert ours["title"].tolist() == [f"Product {i[1:]}" for i in ours["item"]]


def test_the_lines_that_readme_shows(tmp_path, monkeypatch, capsys):
    """From ml-latest-small to a served answer."""
    text = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
    lines = re.search(r"## In Python\n\n```python\n(.*?)```", text, re.DOTALL)[1]
    calls = re.findall(r"\b(?:tfrec|data|run|served)\.", lines)
    assert len(calls) <= 6
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(re.findall(r"^\d +0 +[1-5] +\d+ ", printed, re.M)) == 5, printed


def test_a_run_is_found_again(run):
    again = tfrec.load(run.path)
    assert again.metrics["test"]["hr@10"] == run.metrics["test"]["hr@10"] > 0.9
    found = again.evaluate()
    assert found["ndcg@10"] == pytest.approx(run.metrics["test"]["ndcg@10"])
    assert isinstance(again.model, keras.Model)
    assert "leave-one-out" in repr(again)
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        tfrec.load("nowhere")


def test_models_by_name_class_path_and_instance(rated):
    quiet = {"verbose": False, "check_export": False, "epochs": 1, "hidden": (4,)}
    cls = MODELS["autoencoder"]
    runs = [
        tfrec.fit(model, rated, **quiet)
        for model in ("autoencoder", cls, "tfrec.models.autoencoder:AutoEncoder")
    ]
    assert [r.path.name for r in runs] == ["autoencoder", "autoencoder-2", "autoencoder-3"]
    assert {r.config.model for r in runs} == {"autoencoder"}
    rmse = [r.metrics["test"]["rmse"] for r in runs]
    assert rmse[0] == pytest.approx(rmse[1]) == pytest.approx(rmse[2])
    more = tfrec.fit(runs[0].model, rated, **quiet)  # an instance: its weights and settings
    assert more.config.settings == runs[0].config.settings
    assert more.history["loss"][0] < runs[0].history["loss"][0]


def test_rows_by_item_are_prepared_when_a_model_asks(rated):
    run = tfrec.fit("autorec", rated, hidden=4, epochs=1, verbose=False, check_export=False)
    assert run.info.rows == "item"
    assert run.info.n_ratings == rated.info.n_ratings
    folder = tfrec.PreparedData(rated.data_dir)
    with pytest.raises(ValueError, match="this model reads rows by item: split the Dataset with"):
        tfrec.fit("autorec", folder, verbose=False)


def test_history_callbacks_and_no_test(rated, capsys):
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: seen.append(logs))
    run = tfrec.fit(
        *("autoencoder", rated), epochs=2, hidden=4, callbacks=[watch], test=False, verbose=False
    )
    assert capsys.readouterr().out == ""
    assert run.history["epoch"].tolist() == [1, 2]
    assert run.history["val_rmse"].tolist() == pytest.approx([logs["val_rmse"] for logs in seen])
    assert (run.history[["seconds", "cpu_seconds"]] > 0).all(None)
    assert run.metrics["test"] == {}
    assert not (run.path / "per_user.npz").exists()


def test_a_resumed_run_has_one_history(rated, tmp_path, monkeypatch):
    words = {"epochs": 3, "hidden": 4, "verbose": False, "check_export": False}

    def stop(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    stopping = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        tfrec.fit("autoencoder", rated, run_dir=tmp_path / "r", callbacks=[stopping], **words)
    run = tfrec.fit("autoencoder", rated, run_dir=tmp_path / "r", resume=True, **words)
    whole = tfrec.fit("autoencoder", rated, run_dir=tmp_path / "w", **words)
    assert run.history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(run.history["val_rmse"], whole.history["val_rmse"], rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"model": "eese"}, "--model='eese' is unknown; did you mean 'ease'"),
        ({"model": "no.such:Model"}, "--model=no.such:Model cannot be imported"),
        ({"model": "json:JSONDecoder"}, "is no subclass of tfrec.models.Recommender"),
        ({"model": int}, "is not a model"),
        ({"epoch": 1}, "epoch=1: neither AutoEncoder nor training .*did you mean 'epochs'"),
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"dropout": 1.5}, "dropout=1.5 must be 0 or more and less than 1"),
        ({"hidden": "wide"}, "hidden='wide' of AutoEncoder is str, not int"),
        ({"monitor": "rsme"}, "did you mean 'rmse'"),
        ({"strategy": "mirrord"}, "is unknown; did you mean 'mirrored'"),
        ({"optimizer": "lbfgs"}, "AutoEncoder with these settings cannot be fitted by L-BFGS"),
        ({"resume": True}, "resume=True: give run_dir=.* leave out resume"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_settings_are_checked_as_by_flags(rated, words, expected):
    words = {"model": "autoencoder", "verbose": False, **words}
    with pytest.raises(ValueError, match=expected):
        tfrec.fit(words.pop("model"), rated, **words)


def test_data_must_be_split_first(cache):
    with pytest.raises(ValueError, match="split the data first"):
        tfrec.fit("ease", tfrec.Dataset.from_pandas(orders(), **SHOP))


# ------------------------------------------------------------------ recommendations

KINDS = {  # a model of each kind of signatures, small
    "ease": {},
    "sasrec": {"epochs": 1, "width": 8, "window": 6},
    "cdae": {"epochs": 1, "latent": 4},
    "mf": {"epochs": 1, "latent": 4, "loss": "bpr"},
}


@pytest.fixture(scope="module")
def of_kind(shop, run, rated):
    """`of_kind(name)` -> a run, made once."""
    made = {"ease": run}

    def get(name):
        if name not in made:
            data = rated if name == "autorec" else shop
            made[name] = tfrec.fit(
                name, data, verbose=False, check_export=False, **(KINDS | RATED)[name]
            )
        return made[name]

    return get


RATED = {"autorec": {"hidden": 4, "epochs": 1}}


@pytest.mark.parametrize("name", [*KINDS, *RATED])
def test_all_users_get_the_same_as_each_alone(of_kind, tmp_path, name):
    run = of_kind(name)
    n = run.recommend_all(tmp_path / "all.parquet", k=4, batch_size=5, progress=False)
    found = pd.read_parquet(tmp_path / "all.parquet")
    assert n == found["user"].nunique() == SIZE
    assert {p.name for p in tmp_path.iterdir()} == {"all.parquet"}
    users = list(dict.fromkeys(found["user"]))
    alone = run.recommend(users=users, k=4)
    assert list(found.columns) == list(alone.columns) == ["user", "rank", "item", "score", "title"]
    np.testing.assert_allclose(found["score"], alone["score"], rtol=1e-4, atol=1e-5)
    swapped = (found["item"] != alone["item"]).to_numpy()  # equal scores may swap ranks
    assert swapped.mean() < 0.1
    (stored,) = run.histories(users[:1])
    assert not set(found["item"][found["user"] == users[0]]) & set(stored)


def test_an_interrupted_file_of_all_users_is_resumed(run, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    monkeypatch.setattr(all_users, "_BLOCK", 5)
    run.recommend_all(whole, k=4, batch_size=5, progress=False)
    made, of = [], all_users._Table.of

    def until_third(self, row):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return of(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(all_users._Table, "of", until_third)
        with pytest.raises(KeyboardInterrupt):
            run.recommend_all(cut, k=4, batch_size=5, progress=False)
    assert not cut.exists()
    made.clear()
    monkeypatch.setattr(all_users._Table, "of", lambda self, row: made.append(1) or of(self, row))
    assert run.recommend_all(cut, k=4, batch_size=5, progress=False) == SIZE
    assert len(made) == 3  # two of five parts existed
    pd.testing.assert_frame_equal(pd.read_parquet(cut), pd.read_parquet(whole))
    # Parts of another call are not reused.
    (tmp_path / "cut.parquet.partial").mkdir()
    (tmp_path / "cut.parquet.partial/made_of.json").write_text(json.dumps({"k": 3}))
    assert run.recommend_all(cut, k=3, batch_size=5, progress=False) == SIZE
    assert pd.read_parquet(cut)["rank"].max() == 3


def test_lists_names_and_pairs(run):
    plain = run.recommend(histories=[["s0"], {"s1": 1.0}], k=30)
    assert plain["user"].unique().tolist() == ["0", "1"]
    assert (plain.groupby("user")["rank"].max() == SIZE - 1).all()
    by_name = run.recommend(histories={"ann": ["s0"], "bob": [("s1", 1.0)]}, k=30, titles=False)
    assert by_name["user"].unique().tolist() == ["ann", "bob"]
    assert by_name["item"].tolist() == plain["item"].tolist()
    assert "title" not in by_name
    few = run.recommend(histories=[["s0"], ["s1"]], k=2, allow=["s4", "s7"], exclude=[["s4"], []])
    assert few["item"].tolist() == ["s7", *few["item"][1:]]
    assert set(few["item"][1:]) == {"s4", "s7"}


def test_a_user_may_be_given_twice(run):
    found = run.recommend(users=["1000", "1000"], k=2)
    assert found["user"].tolist() == ["1000"] * 4
    assert found["item"][:2].tolist() == found["item"][2:].tolist()


def test_files_of_users_and_of_histories(run, cache, capsys, tmp_path):
    def ask(*words):
        return command(capsys, "recommend", f"--run_dir={run.path}", "--k=3", *words)

    (tmp_path / "users.txt").write_text("1000\n\n1003\n")
    done = ask(f"--users={tmp_path / 'users.txt'}", f"--output={tmp_path / 'u.csv'}")
    assert "2 users, at most 3 items each" in done.out, done.err
    found = pd.read_csv(tmp_path / "u.csv", dtype={"user": str})
    assert found["item"].tolist() == run.recommend(users=["1000", "1003"], k=3)["item"].tolist()
    table = "user,item,time\nann,s4,20\nann,s2,10\nbob,s1,5\n"
    (tmp_path / "histories.csv").write_text(table)
    done = ask(f"--histories={tmp_path / 'histories.csv'}", f"--output={tmp_path / 'h.parquet'}")
    assert done.status == 0, done.err
    found = pd.read_parquet(tmp_path / "h.parquet")
    due = run.recommend(histories={"ann": ["s2", "s4"], "bob": ["s1"]}, k=3)
    assert found["item"].tolist() == due["item"].tolist()
    assert found["user"].unique().tolist() == ["ann", "bob"]
    done = ask("--all", f"--output={tmp_path / 'all.parquet'}")
    assert "24 users, at most 3 items each" in done.out
    done = ask("--similar=s4")
    assert done.out.startswith("similar to item s4: Product 4\n")
    refused = ask(f"--users={tmp_path / 'users.txt'}", f"--output={tmp_path / 'u.xls'}")
    assert "must end in .parquet or .csv" in refused.err
    assert "--output is missing" in ask("--all").err
    assert "give one of --user, --items" in ask().err


def test_scores_of_pairs(of_kind, rated):
    run = of_kind("autorec")
    pairs = stars()[["user", "item"]].sample(30, random_state=0)
    found = run.score(pairs)
    assert found[["user", "item"]].to_numpy().tolist() == pairs.to_numpy().tolist()
    assert found["score"].between(1, 5).all()
    mixed = of_kind("ease").score([("1000", "s3"), ("1001", "none"), ("1000", "s1")])
    assert np.isnan(mixed["score"].tolist()).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda r: r.recommend(), "give one of users"),
        (lambda r: r.recommend(users="1000"), "is one text; give a list"),
        (
            lambda r: r.recommend(users=["stranger"]),
            "no user 'stranger' in .*users.txt, which knows 24",
        ),
        (lambda r: r.recommend(histories=["s0"]), "is one string: a history is a list"),
        (lambda r: r.recommend(histories=[["s0"]], exclude=[["s1"], ["s2"]]), "2 lists for 1 rows"),
        (lambda r: r.score([("stranger", "s1")]), "no user 'stranger'"),
    ],
    ids=range(6),
)
def test_requests_that_cannot_be_answered(run, ask, expected):
    with pytest.raises(ValueError, match=expected):
        ask(run)


def test_models_that_know_users_only(of_kind):
    with pytest.raises(ValueError, match="mf knows users by weights .* cannot score a new history"):
        of_kind("mf").recommend(histories=[["s0"]])


# ------------------------------------------------------------------ similar items


def test_similar_items_by_item_item_weights(run):
    """EASE's own weights: B[i, j]."""
    found = run.similar(["s4"], k=SIZE)
    weights = run.model.item_weights.numpy()[run.items.index("s4")]
    due = [i for i in np.argsort(-weights, kind="stable") if run.items[i] != "s4"]
    assert found["similar"].tolist() == [run.items[i] for i in due]
    np.testing.assert_allclose(found["score"], weights[due], rtol=1e-5)
    assert found["title"].tolist() == [f"Product {i[1:]}" for i in found["similar"]]


@pytest.mark.parametrize("name", ["mf", "sasrec", "autorec"])
def test_similar_items_by_their_vectors(of_kind, name):
    run = of_kind(name)
    item, other = run.items[3], run.items[5]
    found = run.similar([item, other], k=5)
    assert found["item"].tolist() == [item] * 5 + [other] * 5
    assert not (found["item"] == found["similar"]).any()
    assert found["score"].between(-1.0001, 1.0001).all()
    assert found.groupby("item")["score"].apply(lambda s: s.is_monotonic_decreasing).all()
    if name != "autorec":
        vectors = run.model.item_vectors().numpy()
        a, b = (vectors[run.items.index(i)] for i in found.loc[0, ["item", "similar"]])
        assert found["score"][0] == pytest.approx(
            a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-4
        )


def test_an_unknown_item_is_named(run):
    with pytest.raises(ValueError, match="no item 'none' in .*items.txt, which knows 24"):
        run.similar(["none"])
