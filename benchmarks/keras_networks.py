"""Hold the reference networks against Keras: parameter counts, and seconds an epoch on the same machine.

Keras and TensorFlow need an environment of their own (neither side needs the other):

    python -m venv keras-env && keras-env/bin/pip install tensorflow-cpu
    python benchmarks/keras_networks.py compare --keras-python keras-env/bin/python

It measures one network after the other, each side in turn and with all processors, and prints medians and their ratio.
Data are noise of the study's shape; the layer order, optimiser and batch size are the study's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

LAYERS = {
    "cnn-1": (0.1, ["cpc"], 0),
    "cnn-2": (0.25, ["cpcpc"], 0),
    "cnn-3": (0.1, ["cpcpc"], 0),
    "cnn-4": (0.1, ["cpcpcc"], 0),
    "cnn-lstm-1": (0.1, ["cpc"], 1),
    "cnn-lstm-2": (0.1, ["cpc"], 2),
    "cnn-lstm-3": (0.1, ["cpcpc"], 2),
    "cnn-lstm-4": (0.1, ["cpcpcc"], 2),
    "two-branch": (0.1, ["cct", "cctcctcct"], 2),
}
"""Dropout, branches (c: convolution, p: pool 8, t: pool 3) and LSTMs, written down apart from emovox's own table."""

CLASSES = 8


def keras_model(name: str) -> Any:
    """Build a network in Keras."""
    import keras  # type: ignore[import-not-found]  # not a dependency
    from keras import layers

    dropout, branches, lstms = LAYERS[name]
    inputs = layers.Input((180, 1))
    ends = []
    for branch in branches:
        steps = inputs
        for letter in branch:
            if letter == "c":
                steps = layers.Conv1D(128, 5, padding="same", activation="relu")(steps)
                steps = layers.Dropout(dropout)(steps)
            else:
                steps = layers.MaxPooling1D(8 if letter == "p" else 3)(steps)
        ends.append(steps)
    steps = ends[0] if len(ends) == 1 else layers.Concatenate(axis=1)(ends)
    penalty = keras.regularizers.l2(0.01) if name == "two-branch" else None
    for place in range(lstms):
        steps = layers.LSTM(128, return_sequences=place < lstms - 1, kernel_regularizer=penalty)(steps)
    steps = steps if lstms else layers.Flatten()(steps)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(steps))


def run_keras(name: str, features: Any, labels: Any, epochs: int) -> dict[str, Any]:
    """Train a network in Keras and give its parameter count and the seconds of each epoch."""
    import keras

    model = keras_model(name)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    starts: list[float] = []
    mark = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: starts.append(time.perf_counter()))
    model.fit(features[..., None], labels, batch_size=128, epochs=epochs, verbose=0, callbacks=[mark])
    ends = [*starts[1:], time.perf_counter()]
    return {
        "parameters": model.count_params(),
        "seconds": [end - start for start, end in zip(starts, ends, strict=True)],
    }


def run_emovox(name: str, features: Any, labels: Any, epochs: int) -> dict[str, Any]:
    """Train a network in emovox and give the same."""
    from emovox.models.networks import count_parameters
    from emovox.models.neural import NetworkClassifier

    model = NetworkClassifier(name, epochs=epochs, device="cpu").fit(features, labels)
    return {"parameters": count_parameters(model.module_), "seconds": model.history_["seconds"]}


def measure(side: str, names: list[str], clips: int, epochs: int) -> dict[str, Any]:
    """Train each network on one side; the seconds are those of the quickest epoch but the first."""
    features = np.random.default_rng(0).normal(size=(clips, 180)).astype(np.float32)
    labels = np.arange(clips) % CLASSES
    run = run_keras if side == "keras" else run_emovox
    results = {}
    for name in names:
        measured = run(name, features, labels, epochs)
        measured["seconds"] = round(min(measured["seconds"][1:]), 3)
        results[name] = measured
    return results


def compare(keras_python: str, names: list[str], clips: int, epochs: int, rounds: int) -> None:
    """Let both sides train each network in turn, and print a table."""
    pythons = {"emovox": sys.executable, "keras": keras_python}
    batches = -(-clips // 128)
    print("| network | parameters | emovox ms/step | Keras ms/step | Keras / emovox |\n|---|---|---|---|---|")
    for name in names:
        seconds: dict[str, list[float]] = {side: [] for side in pythons}
        parameters = set()
        for _ in range(rounds):
            for side, python in pythons.items():
                command = [python, __file__, side, "--networks", name, "--clips", str(clips), "--epochs", str(epochs)]
                answer = subprocess.run(command, capture_output=True, text=True, check=True)
                measured = json.loads(answer.stdout.splitlines()[-1])["networks"][name]
                seconds[side].append(measured["seconds"])
                parameters.add(measured["parameters"])
        ours, theirs = (1000 * statistics.median(seconds[side]) / batches for side in pythons)
        counted = " / ".join(map(str, sorted(parameters)))
        print(f"| {name} | {counted} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} |", flush=True)


def main() -> None:
    """Measure one side and print JSON, or compare both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["keras", "emovox", "compare"])
    parser.add_argument("--networks", nargs="+", default=list(LAYERS), choices=list(LAYERS))
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--keras-python", help="interpreter of the environment with Keras, for compare")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.side == "compare":
        if not arguments.keras_python:
            parser.error("compare needs --keras-python")
        compare(arguments.keras_python, arguments.networks, arguments.clips, arguments.epochs, arguments.rounds)
        return
    results = measure(arguments.side, arguments.networks, arguments.clips, arguments.epochs)
    told = {"side": arguments.side, "clips": arguments.clips, "cores": os.cpu_count(), "networks": results}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
