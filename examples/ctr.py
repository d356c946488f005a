"""Predict clicks: the probability of a like, from ids, side information and the time."""

# %% Labels: 1 if the rating is above 3.5, else 0
import tfrec

data = tfrec.Dataset.load("ml-latest-small")
split = data.split("random", label_above=3.5)

# %% DeepFM reads fields: ids, the genres of the item, the weekday of the event
fields = ("user", "item", "genres", "weekday")
run = tfrec.fit("deepfm", split, fields=fields, epochs=4)
print(run)

# %% AUC measures the order, log-loss and calibration the probabilities
test = run.metrics["test"]
for name in ("auc", "gauc", "logloss", "calibration"):
    print(f"{name:12}{test[name]:.4f}")

# %% The export: its signature `score` takes raw ids and raw context
run.export("saved_models/likes")
served = tfrec.Served("saved_models/likes")
print(served.recommend(users=["1"], k=3))
