"""The common base of the tasks that translate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llt_core.interfaces import Batch, DataError, Task, TaskDescription, parameter
from llt_plugins.tasks.text.reading import BlankLines, Pairs
from llt_plugins.tasks.text.tiny import tiny_pairs
from llt_plugins.tasks.text.vocabulary import PADDING, Vocabulary, check_alphabet

if TYPE_CHECKING:
    from torch import Tensor

    from llt_plugins.tasks.text.examples import ParallelExamples

_SPLITS = ("train", "validation", "test")


class TranslationTask(Task):
    """Sentences and their translations, and cross-entropy for each token of the target.

    The order of the training pairs is one fixed permutation (numpy ``RandomState``, seed 0),
    of which the first ``pairs`` are used, so that smaller sets lie inside larger ones. The
    vocabulary is trained on exactly these, both sides together. Training pairs of which one
    side has more than ``max_length`` tokens are then left out; longer sentences of the other
    splits are cut, but their texts, to which translations are compared, stay whole.

    With label smoothing ε (Szegedy et al. 2016, section 7) the loss of a token is
    (1 − ε) · NLL(token) + ε · mean over all outputs of NLL.
    """

    pairs: int | None = parameter(
        4000,
        ge=1,
        unit="sentence pairs",
        description="Training pairs used, the first of one fixed order; null takes all",
    )
    vocabulary: int = parameter(
        2000,
        ge=64,
        unit="tokens",
        description="Size of the vocabulary of sub-words that both languages share, at most; "
        "2,000 suits some thousand pairs (Sennrich and Zhang 2019)",
    )
    max_length: int = parameter(
        100,
        ge=1,
        unit="tokens",
        description="Longest sentence: longer training pairs are left out, longer sentences "
        "of other splits are cut",
    )
    lower: bool = parameter(False, description="Turn all text into lower case")
    label_smoothing: float = parameter(
        0.1, ge=0, lt=1, description="Share ε of the loss that all outputs have in equal parts"
    )
    blank_lines: BlankLines = parameter(
        "refuse",
        description="What to do about pairs with an empty side: refuse the files, or skip "
        "such pairs",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return a task of few tokens and short sentences."""
        return cls(vocabulary=64, max_length=20)

    @abstractmethod
    def read(self, data_root: Path) -> Mapping[str, Pairs]:
        """Return all pairs of each split, in the order of the files.

        Raises
        ------
        DataError
            Something is wrong with a file; says which, and on which line.
        """

    @abstractmethod
    def missing(self, names: str, data_root: Path) -> DataError:
        """Return what to say when the files called ``names`` are missing."""

    def describe(self) -> TaskDescription:
        """Return shapes and kinds; every sentence has its end token in addition."""
        return TaskDescription(
            modality="text",
            input_shape=(self.max_length + 1,),
            outputs=self.vocabulary,
            padding=PADDING,
            loss="label_smoothed_cross_entropy" if self.label_smoothing else "cross_entropy",
            splits=_SPLITS,
        )

    def pinned(self) -> bool:
        """Return False: which files these are is for the fingerprint to say."""
        return False

    def prepare(self, data_root: Path) -> None:
        """Make sure that all files are there, can be read, and fit together."""
        train = self._splits(data_root)["train"]
        check_alphabet(train.sources + train.targets, self.vocabulary)

    def datasets(self, data_root: Path) -> Mapping[str, ParallelExamples]:
        """Load all splits into memory; trains the vocabulary, or takes it from the cache."""
        splits = self._splits(data_root)
        train = splits["train"]
        vocabulary = Vocabulary.trained(train.sources + train.targets, self.vocabulary)
        return {
            name: self._cut(splits[name], vocabulary)
            if name != "train"
            else self._short(train, vocabulary)
            for name in _SPLITS
        }

    def tiny(self) -> Mapping[str, ParallelExamples]:
        """Return 12, 4 and 4 short sentences, German to English whatever the direction."""
        splits = tiny_pairs()
        texts = [text for pairs in splits.values() for text in pairs.sources + pairs.targets]
        vocabulary = Vocabulary.uncached(texts, self.vocabulary)
        return {name: self._cut(pairs, vocabulary) for name, pairs in splits.items()}

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the mean over the tokens to predict, in nats; padding takes no part."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(
            _logits(outputs, batch).flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=PADDING,
            label_smoothing=self.label_smoothing,
        )

    def evaluate(self, outputs: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Return ``loss`` (nats, smoothed alike) and ``correct`` of each token to predict."""
        from torch.nn.functional import cross_entropy

        logits = self.logits(outputs, batch)
        targets = batch.targets.flatten()[_to_predict(batch)]
        loss = cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.label_smoothing
        )
        return {"loss": loss, "correct": (logits.argmax(dim=1) == targets).to(logits.dtype)}

    def logits(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the logits of the tokens to predict, ``(weight, outputs)``, row by row."""
        return _logits(outputs, batch).flatten(0, 1).index_select(0, _to_predict(batch))

    def _splits(self, data_root: Path) -> Mapping[str, Pairs]:
        """Return the pairs of each split that are used; files are read once per process."""
        absent = [path for path in self.files(data_root) if not path.is_file()]
        if absent:
            root = data_root.absolute()
            names = (
                path.relative_to(root) if path.is_relative_to(root) else path for path in absent
            )
            raise self.missing(", ".join(map(str, names)), root)
        return _read(self, data_root, self.fingerprint(data_root))

    def _chosen(self, train: Pairs) -> Pairs:
        """Return the first ``pairs`` of the fixed order."""
        import numpy as np

        # RandomState is frozen: the same numbers in every version of NumPy.
        order = np.random.RandomState(0).permutation(len(train)).tolist()
        return train.at(order[: self.pairs])

    def _cut(self, pairs: Pairs, vocabulary: Vocabulary) -> ParallelExamples:
        """Return ``pairs`` as tokens; longer sentences are cut."""
        return _examples(pairs, vocabulary, self.max_length + 1)

    def _short(self, pairs: Pairs, vocabulary: Vocabulary) -> ParallelExamples:
        """Return the pairs of which neither side is too long, as tokens."""
        # One token more than allowed is enough to see that a sentence is too long.
        longest = self.max_length + 1
        examples = _examples(pairs, vocabulary, longest + 1)
        fits = (examples.source.lengths <= longest) & (examples.target.lengths <= longest)
        if not fits.any():
            raise DataError(
                f"each of {len(pairs)} training pairs has a side of more than "
                f"{self.max_length} tokens",
                where="task.max_length",
                expected="a limit that leaves some pairs",
                next_step="--set task.max_length=100",
            )
        return examples.subset(fits.nonzero().squeeze(1))


def _examples(pairs: Pairs, vocabulary: Vocabulary, longest: int) -> ParallelExamples:
    """Return ``pairs`` as tokens, at most ``longest`` a sentence, its end included."""
    from llt_plugins.tasks.text.examples import ParallelExamples, Sentences

    source, target = (
        Sentences.encoded(texts, vocabulary, longest) for texts in (pairs.sources, pairs.targets)
    )
    return ParallelExamples(source, target, vocabulary)


@lru_cache(maxsize=1)
def _read(task: TranslationTask, data_root: Path, fingerprint: str) -> Mapping[str, Pairs]:
    """Read once; other files (another ``fingerprint``) are read anew."""
    splits = task.read(data_root)
    if task.lower:
        splits = {name: pairs.lower() for name, pairs in splits.items()}
    return {**splits, "train": task._chosen(splits["train"])}


def _to_predict(batch: Batch) -> Tensor:
    """Return the places of the targets that are not padding, ``(weight,)``, row by row."""
    return (batch.targets.flatten() != PADDING).nonzero().squeeze(1)


def _logits(outputs: Any, batch: Batch) -> Tensor:
    """Return ``outputs`` if they are logits of every target, padding included.

    Raises
    ------
    TypeError
        The model returned something else.
    """
    shape = tuple(getattr(outputs, "shape", ()))
    if len(shape) != 3 or shape[:2] != tuple(batch.targets.shape):
        raise TypeError(
            f"the model returned {type(outputs).__name__} {shape} for targets "
            f"{tuple(batch.targets.shape)}, expected logits (B, T, outputs)"
        )
    found: Tensor = outputs
    return found
