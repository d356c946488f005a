"""Models whose scores are all different, untrained."""


def randomise(model, rng, scale, keep=False):
    """Draws every float weight, or what is added to it, from a normal distribution around 0."""
    for weight in model.weights:
        if "float" in weight.dtype:
            drawn = rng.normal(scale=scale, size=weight.shape)
            weight.assign(weight + drawn if keep else drawn)
    return model
