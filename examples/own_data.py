"""Your own table: any column names, times and side information, from a frame or from files."""

# %% Orders of a shop; here they are synthetic
import numpy as np
import pandas as pd

import tfrec

random = np.random.default_rng(0)
orders = pd.DataFrame(
    [
        {"customer": f"c{c}", "sku": f"{('tea', 'coffee')[kind]}-{n}", "bought_at": day}
        for c, kind in enumerate(random.integers(0, 2, 60))  # buys either tea or coffee
        for n, day in enumerate(pd.date_range("2024-01-01", periods=12))
        if random.random() < 0.7
    ]
)
names = [f"{kind}-{n}" for kind in ("tea", "coffee") for n in range(12)]
products = pd.DataFrame({"sku": names, "title": [name.title() for name in names]})
products["unit_price"] = random.uniform(1, 9, len(products)).round(2)

# %% From a frame: name the columns, split, train
columns = {"user": "customer", "item": "sku", "time": "bought_at"}
data = tfrec.Dataset.from_pandas(orders, **columns, items=products)
run = tfrec.fit("ease", data.split("last"))
print(run.recommend(histories=[["tea-1", "tea-2"]], k=3))

# %% The same from files: CSV, TSV or Parquet, compressed or not
orders.to_csv("orders.csv.gz", index=False)
products.to_parquet("products.parquet")
data = tfrec.Dataset.read("orders.csv.gz", **columns, items="products.parquet")

# %% Other columns are fields for models that read them, such as FM and DeepFM
data = tfrec.Dataset.from_pandas(orders, **columns, items=products, price="unit_price:number")
print(data)

# %% Predefined parts are used as they are
newest = orders.groupby("customer").tail(1)
given = tfrec.Dataset.split_files(train=orders.drop(newest.index), test=newest, **columns)
print(tfrec.compare(["popularity", "ease"], given, metrics=["hr@10", "ndcg@10"]))
