"""What a validation error becomes for a user."""

from typing import Annotated, Literal

import msgspec
import pytest

from modelward.core.choices import explained

Colour = Literal["red", "green"]


class Paint(msgspec.Struct, kw_only=True):
    colour: Colour = "red"
    several: tuple[Colour, ...] = ()
    maybe: Colour | None = None
    coats: Annotated[int, msgspec.Meta(ge=1)] = 1
    number: Literal[1, 2] = 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"colour": "blue"}, "colour: 'blue' is none of red, green"),
        ({"colour": "it's"}, 'colour: "it\'s" is none of red, green'),
        ({"several": ["red", "blue"]}, "several: 'blue' is none of red, green"),
        ({"maybe": "blue"}, "maybe: 'blue' is none of red, green"),
        ({"number": 7}, "number: 7 is none of 1, 2"),
        ({"coats": 0}, "Expected int >= 1: coats"),
        ({"coats": "many"}, "Expected int, got str: coats"),
        ({"colour": 3}, "Expected str, got int: colour"),
    ],
)
def test_sentences(given, sentence):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(given, Paint)
    assert explained(caught.value, Paint) == sentence


def test_a_place_that_the_struct_does_not_have_keeps_its_sentence():
    class Other(msgspec.Struct):
        size: int

    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"colour": "blue"}, Paint)
    assert explained(caught.value, Other) == "Invalid enum value 'blue': colour"
