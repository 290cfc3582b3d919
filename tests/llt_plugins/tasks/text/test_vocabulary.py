"""Sub-words: text comes back, the same text gives the same model, the cache is safe."""

import hashlib
import os
import pickle
import subprocess
import sys

import pytest

from llt_core.interfaces import RequestError
from llt_plugins.tasks.text.vocabulary import BOS, EOS, PADDING, UNKNOWN, Vocabulary

TEXTS = [
    "Der Hund schläft, und die Katze schläft auch.",
    "The dog sleeps, and the cat sleeps too.",
    "Größe: 3½ m² – »sagt« er … 100 % 🙂",
    "Wir haben   zwei Leerzeichen; don't we?",
]


def test_text_comes_back():
    vocabulary = Vocabulary.uncached(TEXTS, 120)
    for text, tokens in zip(TEXTS, vocabulary.encode(TEXTS), strict=True):
        assert not {PADDING, BOS, EOS, UNKNOWN} & set(tokens)
        assert vocabulary.decode(tokens) == text
        assert vocabulary.decode([BOS, *tokens, EOS, *tokens, PADDING]) == text


def test_the_size_is_an_upper_bound_that_little_text_does_not_reach():
    assert len(Vocabulary.uncached(TEXTS, 80)) == 80
    assert 80 < len(Vocabulary.uncached(TEXTS, 100_000)) < 1000


def test_what_is_unknown_is_seen():
    vocabulary = Vocabulary.uncached(["aba ab"], 64)
    (tokens,) = vocabulary.encode(["abxab"])
    assert UNKNOWN in tokens
    assert "⁇" in vocabulary.decode(tokens)
    assert "⁇" in vocabulary.decode([len(vocabulary) + 5])
    assert vocabulary.decode([]) == ""


def test_too_small_for_the_alphabet_is_refused_by_number():
    letters = "abcdefghij"
    Vocabulary.uncached([letters], len(letters) + 5)  # the mark of spaces, four special tokens
    with pytest.raises(RequestError, match="the 11 different characters") as error:
        Vocabulary.uncached([letters], len(letters) + 4)
    assert error.value.expected.startswith("at least 15")


def test_the_same_text_gives_the_same_model_in_another_process(cache):
    code = f"""
import hashlib
from llt_plugins.tasks.text.vocabulary import Vocabulary
print(hashlib.sha256(Vocabulary.uncached({TEXTS!r}, 100).model).hexdigest())
"""
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    here = hashlib.sha256(Vocabulary.uncached(TEXTS, 100).model).hexdigest()
    assert done.stdout.strip() == here
    assert not cache.exists()


def test_pickled_with_the_model_alone():
    vocabulary = Vocabulary.uncached(TEXTS, 100)
    tokens = vocabulary.encode(TEXTS)
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again == vocabulary
    assert again.encode(TEXTS) == tokens


def test_trained_once_for_one_text_and_size(cache, monkeypatch):
    first = Vocabulary.trained(TEXTS, 100)
    assert [path.suffix for path in cache.iterdir()] == [".model"]
    monkeypatch.setattr("llt_plugins.tasks.text.vocabulary._train", None)
    assert Vocabulary.trained(TEXTS, 100) == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parents[1]))
    Vocabulary.trained(TEXTS, 90)
    Vocabulary.trained(TEXTS[:2], 100)
    Vocabulary.trained([TEXTS[1], TEXTS[0]], 100)
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"\x00\x01 no model", "half"])
def test_a_damaged_file_in_the_cache_is_made_anew(cache, damage):
    first = Vocabulary.trained(TEXTS, 100)
    (path,) = cache.iterdir()
    path.write_bytes(first.model[: len(first.model) // 2] if damage == "half" else damage)
    assert Vocabulary.trained(TEXTS, 100) == first
    assert path.read_bytes() == first.model
    assert list(cache.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_does_no_harm(cache, monkeypatch):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    assert len(Vocabulary.trained(TEXTS, 100)) == 100
    cache.unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(Vocabulary.trained(TEXTS, 100)) == 100
    assert list(cache.iterdir()) == []
