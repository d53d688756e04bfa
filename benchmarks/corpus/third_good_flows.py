# ruff: noqa: D102, PLC3002 - tables of what others write

"""SavedModels, TFLite files and Keras files written by TensorFlow. Run by third_benign.py."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from third_put import SEED, pickled, put, run

tf.random.set_seed(int(SEED) + 5)
K = keras.layers
MODELS = {
    "dense": lambda: keras.Sequential([keras.Input((4,)), K.Dense(5, "relu"), K.Dense(1)]),
    "images": lambda: keras.Sequential(
        [keras.Input((8, 8, 1)), K.Conv2D(2, 3), K.BatchNormalization(), K.GlobalMaxPooling2D()]
    ),
    "texts": lambda: keras.Sequential([keras.Input((6,)), K.Embedding(20, 3), K.GRU(4)]),
    "two inputs": lambda: (lambda a, b: keras.Model([a, b], K.Dense(2)(K.Concatenate()([a, b]))))(
        keras.Input((2,)), keras.Input((3,))
    ),
}


class Tables(tf.Module):
    """A module with a table that is filled when it is loaded."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable([1.0, 2.0])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), 0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def look(self, x):
        return self.table.lookup(x)


def saved():
    for name, make in MODELS.items():
        model = make()
        put(
            "other",
            f"tensorflow: SavedModel of {name}",
            name.replace(" ", "_"),
            lambda path, model=model: model.export(str(path)),
        )
        put(
            "other",
            f"tensorflow: .keras of {name}",
            f"{name.split()[0]}.keras",
            lambda path, model=model: model.save(path),
        )
        put(
            "other",
            f"tensorflow: h5 of {name}",
            f"{name.split()[0]}.h5",
            lambda path, model=model: model.save(path),
        )
        put(
            "other",
            f"tensorflow: TFLite of {name}",
            f"{name.split()[0]}.tflite",
            lambda path, model=model: path.write_bytes(
                tf.lite.TFLiteConverter.from_keras_model(model).convert()
            ),
        )
    put(
        "other",
        "tensorflow: module with a table",
        "tables",
        lambda path: tf.saved_model.save(Tables(), str(path)),
    )
    plain = tf.Module()
    plain.v = tf.Variable(np.eye(3, dtype="f4"))
    plain.call = tf.function(
        lambda x: tf.where(x > 0, x @ plain.v, x), input_signature=[tf.TensorSpec([None, 3])]
    )
    put(
        "other",
        "tensorflow: plain module",
        "plain",
        lambda path: tf.saved_model.save(plain, str(path), signatures=plain.call),
    )
    put(
        "other",
        "tensorflow: checkpoint",
        "ckpt",
        lambda path: (path.mkdir(), tf.train.Checkpoint(v=plain.v).save(str(path / "model"))),
    )
    put("pickle", "tensorflow: pickled weights", "weights.pkl", pickled(MODELS["dense"]().get_weights()))
    put("other", "tensorflow: records", "train.tfrecord", records)


def records(path):
    with tf.io.TFRecordWriter(str(path)) as file:
        for index in range(5):
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[index]))
            file.write(
                tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()
            )


if __name__ == "__main__":
    run(saved)
