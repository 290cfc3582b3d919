"""Any two aligned text files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from llt_core.interfaces import DataError, parameter
from llt_plugins.tasks.text.reading import Pairs, pair_up, plain_text
from llt_plugins.tasks.text.translation import TranslationTask


class ParallelText(TranslationTask):
    """Line n of one file is the translation of line n of the other.

    Paths are absolute, or relative to the data root; relative ones keep results valid when
    the folder moves.
    """

    summary: ClassVar[str] = "Your own translations: two UTF-8 text files, aligned line by line"
    split_policy: ClassVar[str] = (
        "Validation and test files are taken where given; otherwise each of the two gets the "
        "share `held_out` of one permutation of all pairs (numpy RandomState, seed 1), the test "
        "split first, and the rest trains."
    )

    source: str = parameter(
        "parallel/source.txt", min_length=1, description="File of the sentences to translate"
    )
    target: str = parameter(
        "parallel/target.txt", min_length=1, description="File of their translations"
    )
    validation_source: str | None = parameter(
        None, min_length=1, description="File of the sentences to validate on; null for none"
    )
    validation_target: str | None = parameter(
        None, min_length=1, description="File of their translations; null for none"
    )
    test_source: str | None = parameter(
        None, min_length=1, description="File of the sentences to test on; null for none"
    )
    test_target: str | None = parameter(
        None, min_length=1, description="File of their translations; null for none"
    )
    held_out: float = parameter(
        0.1,
        gt=0,
        lt=0.5,
        description="Share of the pairs that each split without files of its own gets",
    )

    @model_validator(mode="after")
    def _both_sides(self) -> Self:
        for split in ("validation", "test"):
            sides = [getattr(self, f"{split}_{side}") for side in ("source", "target")]
            if (sides[0] is None) != (sides[1] is None):
                raise ValueError(f"{split}_source and {split}_target go together: give both")
        return self

    def files(self, data_root: Path) -> tuple[Path, ...]:
        """Return the two files of each split that has its own."""
        return tuple(path for paths in self._given(data_root).values() for path in paths)

    def read(self, data_root: Path) -> Mapping[str, Pairs]:
        """Return all pairs of each split."""
        splits = {
            name: pair_up(plain_text(source), plain_text(target), self.blank_lines)
            for name, (source, target) in self._given(data_root).items()
        }
        return self._hold_out(splits)

    def missing(self, names: str, data_root: Path) -> DataError:
        """Say which files are not there, and how to name others."""
        return DataError(
            f"files of translations are missing: {names}",
            where=str(data_root),
            expected="two text files, absolute or relative to the data root",
            next_step="--set task.source=FILE --set task.target=FILE, and --data-root DIR if "
            "they are relative to another folder",
        )

    def _given(self, data_root: Path) -> dict[str, tuple[Path, Path]]:
        """Return source and target file of each split that has files."""
        named = {
            "train": (self.source, self.target),
            "validation": (self.validation_source, self.validation_target),
            "test": (self.test_source, self.test_target),
        }
        return {
            split: (data_root / Path(source).expanduser(), data_root / Path(target).expanduser())
            for split, (source, target) in named.items()
            if source is not None and target is not None
        }

    def _hold_out(self, given: dict[str, Pairs]) -> dict[str, Pairs]:
        """Cut the splits that have no files of their own from the training pairs."""
        import numpy as np

        train, splits = given["train"], dict(given)
        # RandomState is frozen: the same numbers in every version of NumPy.
        order = np.random.RandomState(1).permutation(len(train)).tolist()
        count = max(1, round(self.held_out * len(train)))
        for split in ("test", "validation"):
            if split not in given:
                splits[split] = train.at(order[:count])
                order = order[count:]
        if not order:
            raise DataError(
                f"{len(train)} pair(s) are too few to hold some out and train on the rest",
                where=self.source,
                expected="at least three pairs, or files of their own for validation and test",
                next_step="--set task.test_source=… --set task.test_target=…",
            )
        return {**splits, "train": train.at(sorted(order))}
