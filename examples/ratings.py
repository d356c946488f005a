"""Predict ratings: from the embedded MovieLens data to a model that beats the usual baselines."""

# %% Data: 100,836 ratings of 610 users, split at random
import tfrec

data = tfrec.Dataset.load("ml-latest-small")
print(data)

split = data.split("random", test=0.1, validation=0.1, seed=0)

# %% Train: ALS is solved without epochs
run = tfrec.fit("als", split)
print(run)

# %% Validation and test metrics; the test set is read once, at the end of training
print(f"validation RMSE {run.metrics['validation']['rmse']:.4f}")
print(f"test RMSE       {run.metrics['test']['rmse']:.4f}")

# %% Is it better than the biases of users and items? 95 % intervals, a paired test
print(tfrec.compare(["biases", run], split, metrics=["rmse", "mae"]))

# %% Predicted ratings of pairs of a user and an item
print(run.score([("1", "318"), ("1", "589"), ("2", "318")]))

# %% Recommendations for a known user, and for a new one with the ratings of the request
print(run.recommend(users=["1"], k=5))
print(run.recommend(histories=[{"1": 5.0, "3114": 4.5, "593": 1.0}], k=5))
