"""Randomness that depends on what is drawn for, never on call order or on the number of processes."""

import hashlib
import random


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from a tuple such as (run seed, step, problem key, member); equal tuples give equal seeds anywhere."""
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rng(*parts: int | str) -> random.Random:
    """A generator of its own for one purpose: `rng(seed, step, key, member, "length").random()`."""
    return random.Random(seed_of(*parts))
