from __future__ import annotations

import io

import numpy as np
import pytest

from modelward.reporting.png import data_uri, png
from modelward.verbs.pictures import EDGE, picture

PIL = pytest.importorskip("PIL.Image")


def read(file):
    return np.asarray(PIL.open(io.BytesIO(file)))


@pytest.mark.parametrize("shape", [(1, 5, 7), (5, 7), (5, 7, 1), (3, 5, 7), (5, 7, 3)])
def test_both_images_and_their_difference_are_drawn_as_they_are(shape):
    rng = np.random.default_rng(0)
    original = rng.uniform(-1, 1, shape).astype(np.float32)
    x = original.copy()
    x.reshape(-1)[0] = np.clip(x.reshape(-1)[0] + 0.2, -1, 1)
    drawn = picture(original, x, (-1.0, 1.0))
    assert (drawn.width, drawn.height, drawn.block) == (7, 5, 1)
    image = read(drawn.original)
    colours = (
        original
        if shape[-1] == 3
        else np.moveaxis(original, 0, -1)
        if shape[0] == 3
        else original.reshape(5, 7)
    )
    np.testing.assert_array_equal(image, np.rint(255 * (colours.astype(np.float64) + 1) / 2))
    change = read(drawn.change).astype(int)
    assert np.count_nonzero(abs(change - 128) > 1) == 1
    assert change.max() in {254, 255}
    assert np.count_nonzero(read(drawn.changed).astype(int) != image) == 1


def test_equal_images_have_no_difference():
    x = np.full((4, 4), 0.5)
    drawn = picture(x, x, (0.0, 1.0))
    assert drawn.gain == 1
    assert set(read(drawn.change).ravel().tolist()) == {128}


def test_a_large_image_keeps_the_one_pixel_that_changed():
    x = np.zeros((300, 200))
    wrong = x.copy()
    wrong[211, 57] = 1
    drawn = picture(x, wrong, (0.0, 1.0))
    assert max(drawn.width, drawn.height) <= EDGE
    assert drawn.block == 5
    changed = read(drawn.changed)
    assert changed.shape == (60, 40)
    assert np.argwhere(changed == 255).tolist() == [[211 // 5, 57 // 5]]


def test_values_outside_the_box_and_missing_ones_are_cut():
    drawn = picture(np.array([[-9.0, np.nan], [9.0, 0.5]]), np.zeros((2, 2)), (0.0, 1.0))
    assert read(drawn.original).tolist() == [[0, 0], [255, 128]]


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="5 bytes are no picture of 2 x 2 x 1"):
        png(b"12345", 2, 2, 1)
    with pytest.raises(ValueError, match="no picture"):
        png(b"1234", 1, 2, 2)
    assert data_uri(png(b"1", 1, 1, 1)).startswith("data:image/png;base64,iVBORw0KGgo")
