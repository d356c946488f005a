"""The models, one file each, under the contract of `base.Recommender`."""
