"""Word problems: someone's belongings change hands a number of times; one sentence and one worked step per change.

    Mia has 12 shells. She finds 9 more. She gives 4 away. How many shells does Mia have now?
    12+9=21
    21-4=17          -> 17

The numbers stay between 0 and 99. As for chains, the answer appears nowhere before the last step.
"""

import random

from g2rpo.data.problem import Problem

PEOPLE = (("Mia", "She"), ("Tom", "He"), ("Ana", "She"), ("Ben", "He"), ("Lea", "She"), ("Max", "He"))
THINGS = ("apples", "shells", "cards", "coins", "books", "stamps", "pens", "stones")
GAINS = ("finds {n} more", "buys {n} more", "gets {n} from a friend", "wins {n} in a game")
LOSSES = ("gives {n} away", "loses {n} on the way", "sells {n} of them", "puts {n} back")
LIMIT = 100
MAX_OPERAND = 20


def problem(rng: random.Random, steps: int) -> Problem:
    """One story with `steps` changes (difficulty)."""
    while True:
        (name, pronoun), things = rng.choice(PEOPLE), rng.choice(THINGS)
        value = rng.randrange(1, LIMIT)
        story, lines, seen = [f"{name} has {value} {things}."], [], {value}
        for _ in range(steps):
            before = value
            kinds = [k for k, room in (("+", LIMIT - 1 - value), ("-", value)) if room >= 1]
            if 2 <= 2 * value < LIMIT:
                kinds.append("*")
            kind = rng.choice(kinds)
            if kind == "*":
                value, sentence, step, operand = 2 * value, "doubles what is there", f"{before}*2={2 * before}", 2
            elif kind == "+":
                operand = rng.randint(1, min(MAX_OPERAND, LIMIT - 1 - value))
                value, sentence = value + operand, rng.choice(GAINS).format(n=operand)
                step = f"{before}+{operand}={value}"
            else:
                operand = rng.randint(1, min(MAX_OPERAND, value))
                value, sentence = value - operand, rng.choice(LOSSES).format(n=operand)
                step = f"{before}-{operand}={value}"
            story.append(f"{pronoun} {sentence}.")
            lines.append(step)
            seen |= {before, operand}
        if value not in seen:
            break
    question = " ".join(story) + f" How many {things} does {name} have now?"
    return Problem(
        key=f"word_problems:{question}",
        prompt=[{"role": "user", "content": question}],
        answer=str(value),
        trace="\n".join(lines),
        difficulty=float(steps),
        source="word_problems",
    )
