"""The reference networks: their layers, counts, start and steps are those of the study and of Keras."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from emovox.models.architectures import ARCHITECTURES, UNITS
from emovox.models.layers import OneBiasLSTM, Stage, _kept
from emovox.models.networks import Network, count_parameters
from emovox.models.optimizers import OPTIMIZERS
from emovox.models.training import Training

NAMES = list(ARCHITECTURES)


def network(name: str, *, features: int = 180, classes: int = 7) -> Network:
    torch.manual_seed(0)
    return Network(ARCHITECTURES[name], features=features, classes=classes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("classes", "features"), [(8, 180), (7, 180), (3, 25)])
def test_the_table_counts_the_parameters_that_torch_trains(name, classes, features):
    counted = count_parameters(network(name, features=features, classes=classes))
    assert counted == ARCHITECTURES[name].parameters(classes=classes, features=features)


@pytest.mark.parametrize("name", NAMES)
def test_trained_parameters_equal_the_published_count(name):
    assert count_parameters(network(name, classes=8)) == ARCHITECTURES[name].reference["parameters"]


def test_the_two_branches_are_joined_along_time():
    net = network("two-branch")
    shapes = [tuple(branch(torch.zeros(2, 1, 1, 180)).shape) for branch in net.branches]
    assert shapes == [(2, 128, 1, 60), (2, 128, 1, 6)]
    assert ARCHITECTURES["two-branch"].steps(180) == 66


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("features", [180, 1, 7])
def test_one_logit_a_class_for_every_length(name, features):
    net = network(name, features=features).eval()
    batch = torch.randn(3, features)
    logits = net(batch)
    assert logits.shape == (3, 7)
    torch.testing.assert_close(net(batch[:1]), logits[:1], atol=1e-5, rtol=1e-4)


def plain(stage: Stage, sequence: torch.Tensor) -> torch.Tensor:
    """The same by torch's own one-dimensional layers, without dropout."""
    values = functional.conv1d(sequence.squeeze(2), stage.weight.squeeze(2), stage.bias, padding="same").relu()
    return functional.max_pool1d(values, stage.pool).unsqueeze(2) if stage.pool > 1 else values.unsqueeze(2)


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(8, 40), channels=st.sampled_from([1, 3, 128]), pool=st.integers(1, 8), training=st.booleans())
def test_stage_is_torch_s_one_dimensional_convolution_and_pooling(steps, channels, pool, training):
    torch.manual_seed(steps)
    stage = Stage(channels, dropout=0.0, pool=pool).train(training)
    sequence = torch.randn(2, channels, 1, steps, requires_grad=channels > 1)
    weights = torch.randn(2, 128, 1, steps // pool)
    learned = [stage.weight, stage.bias] + ([sequence] if channels > 1 else [])
    results = []
    for function in (stage, lambda given: plain(stage, given)):
        values = function(sequence)
        results.append((values, torch.autograd.grad((values * weights).sum(), learned)))
    (values, gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("probability", [0.1, 0.25])
def test_dropout_drops_as_many_as_it_should_and_scales_the_rest(probability):
    torch.manual_seed(1)
    stage = Stage(3, dropout=probability)
    sequence = torch.randn(40, 3, 1, 50)
    whole, dropped = stage.eval()(sequence), stage.train()(sequence)
    positive = whole > 1e-4
    kept = dropped[positive] > 0
    assert (~kept).float().mean().item() == pytest.approx(
        probability, abs=4 * (probability * (1 - probability) / positive.sum().item()) ** 0.5
    )
    torch.testing.assert_close(dropped[positive][kept], whole[positive][kept] / (1 - probability))
    assert (dropped[whole == 0] == 0).all()


@pytest.mark.parametrize("pool", [1, 3])
def test_gradients_go_where_values_went(pool):
    """Against torch's own operations with the mask that the stage drew."""
    torch.manual_seed(1)
    stage = Stage(4, dropout=0.25, pool=pool)
    sequence = torch.randn(6, 4, 1, 31, requires_grad=True)
    weights = torch.randn(6, 128, 1, 31 // pool)
    torch.manual_seed(5)
    values = stage(sequence)
    torch.manual_seed(5)
    mask = _kept(torch.empty(6, 1, 31, 128).permute(0, 3, 1, 2), 0.25) / 0.75
    expected = functional.conv2d(sequence, stage.weight, stage.bias, padding=(0, 2)).relu() * mask
    expected = functional.max_pool2d(expected, (1, pool))
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)
    learned = [stage.weight, stage.bias, sequence]
    gradients = torch.autograd.grad((values * weights).sum(), learned)
    for gradient, wanted in zip(gradients, torch.autograd.grad((expected * weights).sum(), learned), strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-3, rtol=1e-4)


def test_dropout_is_drawn_anew_each_time_and_follows_torch_s_seed():
    stage, sequence = Stage(2, dropout=0.5), torch.randn(4, 2, 1, 33)
    torch.manual_seed(3)
    first, second = stage(sequence), stage(sequence)
    torch.manual_seed(3)
    assert not torch.equal(first, second)
    assert torch.equal(first, stage(sequence))


def test_lstm_follows_the_equations():
    """Hochreiter and Schmidhuber's cell with forget gates, as Keras and torch define it, one bias a gate."""
    torch.manual_seed(0)
    lstm, sequence = OneBiasLSTM(3), torch.randn(1, 4, 3)
    kernel, recurrent, bias, _ = (weight.detach().double().numpy() for weight in lstm.all_weights[0])
    hidden, cell = np.zeros(UNITS), np.zeros(UNITS)
    for step in sequence[0].double().numpy():
        i, f, g, o = np.split(kernel @ step + recurrent @ hidden + bias, 4)
        sigmoid = [1 / (1 + np.exp(-gate)) for gate in (i, f, o)]
        cell = sigmoid[1] * cell + sigmoid[0] * np.tanh(g)
        hidden = sigmoid[2] * np.tanh(cell)
    np.testing.assert_allclose(lstm(sequence)[0][0, -1].detach().numpy(), hidden, atol=1e-5)


def test_weights_start_as_in_keras():
    net = network("cnn-lstm-2")
    for layer, limit in ((net.branches[0][1], (6 / (5 * 128 + 5 * 128)) ** 0.5), (net.head, (6 / (128 + 7)) ** 0.5)):
        assert layer.weight.abs().max() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)
        assert (layer.bias == 0).all()
    kernel, recurrent, bias, second_bias = net.recurrent[0].all_weights[0]
    assert kernel.abs().max() <= (6 / (128 + 512)) ** 0.5
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(128), atol=1e-5, rtol=0)
    assert bias.reshape(4, 128)[:, 0].tolist() == [0, 1, 0, 0]
    assert (second_bias == 0).all()


def test_the_second_bias_stays_zero():
    net = network("cnn-lstm-1")
    optimizer = torch.optim.SGD([weight for weight in net.parameters() if weight.requires_grad], lr=0.1)
    net(torch.randn(4, 180)).square().sum().backward()
    optimizer.step()
    assert (net.recurrent[0].all_weights[0][3] == 0).all()
    assert not (net.recurrent[0].all_weights[0][2].reshape(4, 128)[0] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_only_the_two_branch_network_is_penalised(name):
    net = network(name)
    kernels = [lstm.all_weights[0][0] for lstm in net.recurrent]
    expected = sum(0.01 * kernel.square().sum().item() for kernel in kernels) if name == "two-branch" else 0
    assert net.penalty().item() == pytest.approx(expected, rel=1e-5)


class KerasSteps:
    """One step of each optimiser, written down from Keras 3's sources (``keras/src/optimizers``)."""

    def __init__(self) -> None:
        self.m = self.v = self.d = 0.0
        self.accumulator = 0.1
        self.product = 1.0

    def adam(self, g, t):
        self.m += (g - self.m) * 0.1
        self.v += (g**2 - self.v) * 0.001
        return 1e-3 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * self.m / (self.v**0.5 + 1e-7)

    def nadam(self, g, t):
        now, after = (0.9 * (1 - 0.5 * 0.96**step) for step in (t, t + 1))
        self.product *= now
        self.m += (g - self.m) * 0.1
        self.v += (g**2 - self.v) * 0.001
        m = after * self.m / (1 - self.product * after) + (1 - now) * g / (1 - self.product)
        return 1e-3 * m / ((self.v / (1 - 0.999**t)) ** 0.5 + 1e-7)

    def rmsprop(self, g, t):
        self.v = 0.9 * self.v + 0.1 * g**2
        return 1e-3 * g / (self.v + 1e-7) ** 0.5

    def adamax(self, g, t):
        self.m += (g - self.m) * 0.1
        self.v = np.maximum(0.999 * self.v, abs(g))
        return 1e-3 * self.m / ((1 - 0.9**t) * (self.v + 1e-7))

    def adagrad(self, g, t):
        self.accumulator = self.accumulator + g**2
        return 1e-3 * g / (self.accumulator + 1e-7) ** 0.5

    def adadelta(self, g, t):
        self.v = 0.95 * self.v + 0.05 * g**2
        step = ((self.d + 1e-7) / (self.v + 1e-7)) ** 0.5 * g
        self.d = 0.95 * self.d + 0.05 * step**2
        return 1e-3 * step

    def sgd(self, g, t):
        return 1e-2 * g


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_take_keras_steps(name):
    net = network("cnn-1", features=8)
    training = Training(net, optimizer=OPTIMIZERS[name], learning_rate=None, class_weights=None, seed=0)
    optimizer = training.configure_optimizers()
    keras, weight = KerasSteps(), net.head.weight
    rng = np.random.default_rng(0)
    # RMSprop's epsilon shows in gradients below 1e-3; Adam's would below 1e-5, where torch's formula is another one.
    scale = np.logspace(0, -4 if name == "rmsprop" else -2, weight.numel()).reshape(weight.shape)
    for t in range(1, 6):
        gradient = rng.choice([-1, 1], weight.shape) * rng.uniform(0.5, 1.5, weight.shape) * scale
        before = weight.detach().double().numpy().copy()
        weight.grad = torch.from_numpy(gradient).float()
        optimizer.step()
        step = before - weight.detach().double().numpy()
        np.testing.assert_allclose(step, getattr(keras, name)(gradient, t), rtol=0.02, atol=1e-7)


def test_all_seven_optimisers_are_there():
    assert list(OPTIMIZERS) == ["adam", "nadam", "rmsprop", "adamax", "adagrad", "adadelta", "sgd"]
