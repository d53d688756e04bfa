"""Invent card and account payments of which a few are fraud, with a planted gap between age groups.

    python examples/fraud/generate.py --rows 1000 --seed 7 --out payments.csv

Nobody's data is in here: every row is drawn from the distributions below. What is planted, so that an audit
can be held against it:

- 2.5 % of the payments are fraud, at the same rate in every age group, sex and country;
- most fraud is a *takeover*: a stranger pays from a new device, at night, large amounts, to new payees;
- the rest is *talked into*: the customers themselves pay, from their own device and by day, so it looks
  almost like their other payments. This is a tenth of the fraud below 35 and almost half from 65 on
  (`TALKED_INTO`). A model therefore finds about half of the fraud against people from 65 on and about four
  fifths of that against people below 35, although it is never told the age group: the gap is in what can be
  seen;
- sex plays no role at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

FRAUD_RATE = 0.025
TALKED_INTO = {"18-34": 0.10, "35-64": 0.18, "65+": 0.45}
AGE_GROUPS = {"18-34": (18, 35, 0.35), "35-64": (35, 65, 0.40), "65+": (65, 91, 0.25)}
"""First age, age after the last, and share of the customers."""
COUNTRIES = ("AT", "BE", "DE", "ES", "FR", "IT")
MERCHANTS = ("electronics", "fuel", "gift cards", "groceries", "restaurant", "travel")
CHANNELS = ("app", "card", "web")
LABEL = "fraud"


def generate(rows: int, seed: int) -> pd.DataFrame:
    """Draw payments.

    Args:
        rows: how many.
        seed: the only source of randomness.

    Returns:
        One row per payment:

        ===============  =========  ====================================================================
        amount           real       EUR, two decimals
        usual_amount     real       EUR, the customer's median payment
        hour             integer    of the day, 0 to 23
        payments_24h     integer    payments of the account in the last day
        device_days      integer    days since the paying device was first seen
        account_days     integer    days since the account was opened
        new_payee        boolean    first payment to this payee
        merchant         category   what is bought
        channel          category   how it is paid
        country          category   of the account; an attacker cannot change it
        age              integer    of the customer, years; an attacker cannot change it
        age_group        category   for comparing groups only, not a feature
        sex              category   for comparing groups only, not a feature
        fraud            label      1 or 0
        ===============  =========  ====================================================================
    """
    draw = np.random.default_rng(seed)
    groups = draw.choice(list(AGE_GROUPS), rows, p=[share for _, _, share in AGE_GROUPS.values()])
    first, after = (np.array([AGE_GROUPS[group][i] for group in groups]) for i in (0, 1))
    fraud = draw.random(rows) < FRAUD_RATE
    talked = fraud & (draw.random(rows) < np.array([TALKED_INTO[group] for group in groups]))
    takeover = fraud & ~talked

    usual = np.exp(draw.normal(3.4, 0.6, rows))
    factor = np.exp(draw.normal(0.0, 0.5, rows) + 0.9 * takeover + 0.5 * talked)
    day = np.rint(draw.normal(14, 4, rows)).astype(np.int64) % 24
    night = np.rint(draw.normal(2, 2.5, rows)).astype(np.int64) % 24
    known_device = draw.gamma(1.5, 300, rows).astype(np.int64)
    new_device = draw.gamma(1.0, 3, rows).astype(np.int64)
    stranger = takeover & (draw.random(rows) < 0.85)
    return pd.DataFrame(
        {
            "amount": np.round(usual * factor, 2),
            "usual_amount": np.round(usual, 2),
            "hour": np.where(takeover & (draw.random(rows) < 0.6), night, day),
            "payments_24h": draw.poisson(1.5 + 2.5 * takeover),
            "device_days": np.where(stranger, new_device, known_device),
            "account_days": draw.gamma(2.0, 700, rows).astype(np.int64),
            "new_payee": (draw.random(rows) < np.where(fraud, 0.85, 0.2)).astype(np.int64),
            "merchant": _choose(draw, MERCHANTS, fraud, (0.3, 0.05, 0.35, 0.1, 0.05, 0.15)),
            "channel": _choose(draw, CHANNELS, takeover, (0.3, 0.2, 0.5)),
            "country": draw.choice(COUNTRIES, rows),
            "age": draw.integers(first, after),
            "age_group": groups,
            "sex": draw.choice(("female", "male"), rows),
            LABEL: fraud.astype(np.int64),
        }
    )


def _choose(
    draw: np.random.Generator, names: tuple[str, ...], odd: np.ndarray, odd_shares: tuple[float, ...]
) -> np.ndarray:
    """One name per row: evenly for ordinary rows, by the given shares for odd ones."""
    return np.where(odd, draw.choice(names, len(odd), p=odd_shares), draw.choice(names, len(odd)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Invent payments, of which a few are fraud.")
    parser.add_argument("--rows", type=int, default=1000, help="How many payments.")
    parser.add_argument("--seed", type=int, default=0, help="The only source of randomness.")
    parser.add_argument("--out", type=Path, default=Path("payments.csv"), help="CSV file to write.")
    chosen = parser.parse_args()
    generate(chosen.rows, chosen.seed).to_csv(chosen.out, index=False)
