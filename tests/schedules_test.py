"""The learning rate of each step: what it is, and that the optimizer has it."""

import math
import types

import numpy as np
import pytest
from training_test import trial  # noqa: F401  (a fixture)

from tfrec.config import TrainConfig
from tfrec.training import methods, optimizers, schedules


def whole(steps=5, **train):
    """The rates of a run of 4 epochs."""
    config = TrainConfig(**{"epochs": 4, "learning_rate": 1.0, **train})
    return np.concatenate(
        [schedules.rates(config, epoch, 0, steps, steps) for epoch in range(config.epochs)]
    )


def test_a_warm_up_is_a_straight_line_in_steps_or_in_epochs():
    due = [0.25, 0.5, 0.75, *[1.0] * 17]
    np.testing.assert_allclose(whole(warmup_steps=4), due)
    np.testing.assert_allclose(whole(warmup_epochs=0.8), due)


def test_linear_and_cosine_go_from_1_to_0_after_the_warm_up():
    past = np.arange(16) / 16
    np.testing.assert_allclose(whole(schedule="linear", warmup_steps=4)[4:], 1 - past)
    cosine = whole(schedule="cosine", warmup_steps=4)[4:]
    np.testing.assert_allclose(cosine, [(1 + math.cos(math.pi * p)) / 2 for p in past], rtol=1e-6)
    longer = whole(schedule="linear", schedule_epochs=8)
    np.testing.assert_allclose(longer, 1 - np.arange(20) / 40)


def test_decay_epochs_multiply_a_schedule():
    plain = whole(schedule="linear")
    decayed = whole(schedule="linear", decay_epochs=(1, 3), decay_factor=0.1)
    np.testing.assert_allclose(
        decayed, plain * np.repeat([1, 0.1, 0.1, 0.01], 5).astype(np.float32), rtol=1e-6
    )


def test_what_is_beyond_an_epoch_has_its_last_rate():
    rates = schedules.rates(TrainConfig(epochs=2, schedule="linear"), 0, 3, 4, steps=5)
    assert rates.tolist() == pytest.approx([7e-4, 6e-4, 6e-4, 6e-4])


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"warmup_steps": 3, "warmup_epochs": 1.0}, "warmup_steps=3 warmup_epochs=1: .*one of"),
        ({"schedule": "cosine", "schedule_epochs": 2}, "schedule_epochs=2: .* of epochs=50"),
        ({"schedule": "linear", "optimizer": "lbfgs"}, "schedule=linear: lbfgs .*leave it out"),
        ({"warmup_steps": 9, "optimizer": "lbfgs"}, "warmup_steps=9: lbfgs .*leave it out"),
        ({"schedule": "cosin"}, "schedule=cosin is unknown; did you mean 'cosine'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(train, expected):
    with pytest.raises(ValueError, match=f"--train {expected}"):
        TrainConfig(**train)


def test_an_unknown_number_of_batches_is_refused_where_it_matters():
    assert schedules.rates(TrainConfig(), 0, 0, 1, steps=-2) == np.float32(1e-3)
    with pytest.raises(ValueError, match="schedule=linear and warm-ups .*cardinality"):
        schedules.rates(TrainConfig(schedule="linear"), 0, 0, 1, steps=-2)


def test_each_step_is_taken_with_its_rate_and_a_refit_has_the_same(trial, monkeypatch):  # noqa: F811
    t = trial(epochs=3, schedule="linear", warmup_steps=2, learning_rate=0.08, refit=True)
    seen, step = [], methods.Watch.step

    def watched(self, *args):
        seen.append(float(t.model.optimizer.learning_rate))
        step(self, *args)

    monkeypatch.setattr(methods.Watch, "step", watched)
    t.fit(resume=False)
    assert seen == pytest.approx(0.08 * np.array([0.5, 1, *(1 - np.arange(10) / 10)]), rel=1e-5)
    first, seen[:] = list(seen), []
    t.refit(2)
    assert seen == pytest.approx(first[:8])


def test_adam_has_the_numbers_of_the_settings():
    model = types.SimpleNamespace(undecayed=[], log_gradient_norm=lambda optimizer: None)
    for name in ("adam", "adamw"):
        config = TrainConfig(optimizer=name, beta_1=0.8, beta_2=0.98, epsilon=1e-6)
        made = optimizers.make(config, model)
        assert (made.beta_1, made.beta_2, made.epsilon) == (0.8, 0.98, 1e-6)
