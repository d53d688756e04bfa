# ruff: noqa: E402, N812 - the backend is chosen before Keras is imported; Keras's own abbreviation
"""Write models of every family of layers with the installed Keras into the folder that is named."""

import os
import sys
import warnings
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import absl.logging
import keras
import numpy as np
from keras import Input
from keras import layers as L

absl.logging.set_verbosity("error")


def chain(shape, *parts):
    return keras.Sequential([Input(shape), *parts])


def compiled(optimizer):
    model = chain((2,), L.Dense(1))
    metrics = [keras.metrics.BinaryAccuracy(), keras.metrics.Precision(), keras.metrics.AUC(), "mae"]
    model.compile(optimizer, loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=metrics)
    return model


def sequences():
    yield (
        "dense",
        chain(
            (4,),
            L.Dense(
                8,
                activation="relu",
                kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
                kernel_initializer=keras.initializers.HeNormal(seed=1),
                bias_constraint=keras.constraints.MaxNorm(2),
            ),
            L.Dropout(0.3),
            L.BatchNormalization(),
            L.LayerNormalization(),
            L.Dense(3, activation=keras.activations.softmax),
        ),
    )
    yield (
        "conv",
        chain(
            (16, 16, 3),
            L.Conv2D(4, 3, padding="same"),
            L.ReLU(),
            L.MaxPooling2D(),
            L.SeparableConv2D(4, 3),
            L.DepthwiseConv2D(3),
            L.Conv2DTranspose(2, 3),
            L.GlobalAveragePooling2D(),
        ),
    )
    yield (
        "conv1",
        chain(
            (32, 3),
            L.Conv1D(4, 3),
            L.ZeroPadding1D(1),
            L.Cropping1D(1),
            L.AveragePooling1D(2),
            L.UpSampling1D(2),
        ),
    )
    yield "conv3", chain((8, 8, 8, 1), L.Conv3D(2, 2), L.MaxPooling3D(2), L.Flatten(), L.Dense(1))
    yield (
        "recurrent",
        chain(
            (5, 3),
            L.LSTM(4, return_sequences=True),
            L.Bidirectional(L.GRU(3, return_sequences=True)),
            L.TimeDistributed(L.Dense(3)),
            L.RNN([L.LSTMCell(3), L.GRUCell(2)]),
        ),
    )
    yield "embedding", chain((6,), L.Embedding(20, 4, mask_zero=True), L.Masking(), L.SimpleRNN(3))
    yield (
        "activations",
        chain(
            (4,),
            L.LeakyReLU(),
            L.PReLU(),
            L.ELU(),
            L.Softmax(),
            L.Activation("swish"),
            L.GaussianNoise(0.1),
            L.AlphaDropout(0.1),
            L.ActivityRegularization(0.1),
            L.RepeatVector(3),
            L.Permute((2, 1)),
            L.Reshape((12,)),
        ),
    )
    yield "numbers", chain((4,), L.Rescaling(1 / 255.0), L.Normalization(mean=0.0, variance=1.0))
    yield (
        "pictures",
        chain((16, 16, 3), L.RandomFlip(), L.RandomRotation(0.1), L.CenterCrop(8, 8), L.Resizing(16, 16)),
    )
    yield "augmented", chain((16, 16, 3), L.RandAugment(), L.RandomGrayscale(), L.AutoContrast())
    yield "states", chain((3, 8, 8, 1), L.ConvLSTM2D(2, 3), L.Flatten())
    yield "spectral", chain((4,), L.SpectralNormalization(L.Dense(3)), L.UnitNormalization())


def graphs():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    x = L.Concatenate()([L.Dense(3)(a), L.Dense(3)(b)])
    y = L.Add()([L.Dense(2)(x), L.Dense(2)(x)])
    z = L.Multiply()([y, L.Maximum()([y, L.Average()([y, y])])])
    model = keras.Model([a, b], [L.Subtract()([y, z]), L.Dot(1)([y, z])])
    model.compile("rmsprop", loss=["mse", "mae"], metrics=[["mae"], ["mse"]])
    yield "functional", model
    s = Input((6, 8))
    t = L.LayerNormalization()(L.MultiHeadAttention(2, 4)(s, s) + s)
    t = L.AdditiveAttention()([t, L.Attention()([t, t])])
    yield "attention", keras.Model(s, L.EinsumDense("abc,cd->abd", output_shape=(None, 5))(t))
    u = Input((4,))
    v = keras.ops.relu(u * 2 + 1) - keras.ops.mean(u, axis=-1, keepdims=True)
    v = keras.ops.concatenate([v, keras.ops.exp(u)], -1)[:, 1:3]
    v = keras.ops.where(v > 0, v, keras.ops.zeros_like(v))
    v = keras.ops.matmul(v, np.ones((2, 2), "f4"))
    yield "operations", keras.Model(u, keras.ops.softmax(v))
    w = Input((4,))
    inner = chain((4,), L.Dense(3))
    yield "nested", keras.Model(w, L.Dense(1)(keras.Model(w, inner(w))(w)))


def others():
    decay = keras.optimizers.schedules.CosineDecay(1e-2, 100)
    yield "sgd", compiled(keras.optimizers.SGD(decay, momentum=0.9))
    for name in ("adam", "adamw", "adamax", "nadam", "adagrad", "adadelta", "ftrl", "lion", "adafactor"):
        yield name, compiled(name)
    yield "mixed", chain((4,), L.Dense(3, dtype="mixed_float16"))
    quantised = chain((4,), L.Dense(3))
    quantised.quantize("int8")
    yield "quantised", quantised
    adapted = chain((4,), L.Dense(3))
    adapted.layers[0].enable_lora(2)
    yield "adapted", adapted
    yield (
        "mobile",
        keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=2, alpha=0.35),
    )
    fitted = compiled("adam")
    fitted.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    yield "fitted", fitted


def lambdas(folder):
    """Not harmless: what a real Keras writes for a Python lambda."""
    model = chain((4,), L.Lambda(lambda x: x * 2.0), L.Dense(1))
    model.save(folder / "computes.keras")
    model.save(folder / "computes.h5")
    evil = chain((4,), L.Lambda(lambda x: x * __import__("math").floor(1.5)))
    evil.save(folder / "imports.keras")
    evil.save(folder / "imports.h5")


def main():
    folder = Path(sys.argv[1])
    (folder / "lambda").mkdir()
    for family in (sequences, graphs, others):
        for name, model in family():
            model.save(folder / f"{name}.keras")
            model.save(folder / f"{name}.h5")
            model.save_weights(folder / f"{name}.weights.h5")
            (folder / f"{name}.json").write_text(model.to_json())
    lambdas(folder / "lambda")


main()
