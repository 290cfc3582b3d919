"""A few sentences for tests: no file, no download, little time."""

from __future__ import annotations

from collections.abc import Mapping

from llt_plugins.tasks.text.reading import Pairs

NOUNS = {"hund": "dog", "hahn": "rooster", "igel": "hedgehog", "esel": "donkey", "gast": "guest"}
VERBS = {"lacht": "laughs", "singt": "sings", "rennt": "runs", "denkt": "thinks"}
SIZES = {"train": 12, "validation": 4, "test": 4}


def tiny_pairs() -> Mapping[str, Pairs]:
    """Return the German and English sentences of all nouns and verbs, each in one split."""
    made = [
        (f"der {noun} {verb} .", f"the {english} {acts} .")
        for noun, english in NOUNS.items()
        for verb, acts in VERBS.items()
    ]
    # Seven and twenty have no common divisor: every sentence once, nouns and verbs mixed.
    mixed = [made[7 * number % len(made)] for number in range(len(made))]
    splits, start = {}, 0
    for split, size in SIZES.items():
        sources, targets = zip(*mixed[start : start + size], strict=True)
        splits[split] = Pairs(sources, targets)
        start += size
    return splits
