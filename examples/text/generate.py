"""Invent short messages of which some are spam.

    python examples/text/generate.py --rows 1000 --seed 7 --out messages.csv

Nobody's messages are in here: every one is put together from the phrases below. A message has a greeting or
none, one or two phrases of its kind, and sometimes a phrase that both kinds have: no single word decides.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

SPAM_SHARE = 0.2
GREETINGS = ("Hi", "Hello", "Hey there", "Dear customer", "Good morning", "Congratulations")
SPAM = (
    "you have won a {prize} worth {amount} pounds",
    "claim your free {prize} now, just reply {word}",
    "your account was chosen for a {prize}, call {number} to collect it",
    "text {word} to {number} for a chance to win {amount} pounds",
    "last chance to get cheap {product} from {amount} pounds, call {number}",
    "urgent: we could not deliver your {prize}, confirm at {number} today",
)
HAM = (
    "are we still meeting for {meal} at {place} tomorrow",
    "I am running late, see you at {place} in {minutes} minutes",
    "can you bring the {thing} when you come over tonight",
    "the meeting moved to {minutes} past nine, call me if that does not work",
    "thanks for the {thing}, it was great to see you at {place}",
    "{meal} was lovely, we should do that again next week",
)
SHARED = ("let me know", "see you soon", "reply when you can", "it is free on Sunday", "call me later")
SLOTS = {
    "prize": ("holiday", "phone", "gift card", "voucher", "camera"),
    "amount": ("100", "250", "500", "1000", "2000"),
    "word": ("WIN", "YES", "CLAIM", "GO"),
    "number": ("80012", "07700 900123", "0800 555 111", "87121"),
    "product": ("ringtones", "loans", "flights", "tickets"),
    "meal": ("lunch", "dinner", "breakfast", "coffee"),
    "place": ("the station", "work", "home", "the library", "the gym"),
    "minutes": ("ten", "fifteen", "twenty", "thirty"),
    "thing": ("book", "keys", "phone charger", "tickets", "camera"),
}


def generate(rows: int, seed: int) -> pd.DataFrame:
    """Draw messages.

    Args:
        rows: how many.
        seed: the only source of randomness.

    Returns:
        One row per message: ``text``, and ``label``, which is ``spam`` or ``ham``.
    """
    draw = np.random.default_rng(seed)
    spam = draw.random(rows) < SPAM_SHARE
    texts = [message(draw, SPAM if is_spam else HAM) for is_spam in spam]
    return pd.DataFrame({"text": texts, "label": np.where(spam, "spam", "ham")})


def message(draw: np.random.Generator, phrases: tuple[str, ...]) -> str:
    """One message with phrases of one kind."""
    parts = [str(phrase) for phrase in draw.choice(phrases, draw.integers(1, 3), replace=False)]
    if draw.random() < 0.4:
        parts.append(str(draw.choice(SHARED)))
    filled = [part.format(**{name: draw.choice(words) for name, words in SLOTS.items()}) for part in parts]
    greeting = [str(draw.choice(GREETINGS))] if draw.random() < 0.5 else []
    return ". ".join([*greeting, *filled])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Invent messages for examples/text.")
    parser.add_argument("--rows", type=int, default=1000, help="How many messages.")
    parser.add_argument("--seed", type=int, default=0, help="The only source of randomness.")
    parser.add_argument("--out", type=Path, default=Path("messages.csv"), help="File to write.")
    arguments = parser.parse_args()
    generate(arguments.rows, arguments.seed).to_csv(arguments.out, index=False)
