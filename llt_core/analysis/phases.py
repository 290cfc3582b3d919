"""The five phases of load and temperature (Yang et al. 2021, section 4), as a rule.

=====  ==========  ==================  ===============================  ===============
phase  train loss  Hessian             mode connectivity                similarity
=====  ==========  ==================  ===============================  ===============
I      large       large: sharp        negative: poorly connected       any
II     large       large: sharp        positive                         any
III    small       small: flat         negative: poorly connected       any
IV-A   small       small: flat         near zero: well connected        smaller
IV-B   small       small: flat         near zero: well connected        larger
=====  ==========  ==================  ===============================  ===============

The authors draw the boundaries by eye. Here each is a number, and may be changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llt_core.analysis.table import CellTable, Floats

Phase = Literal["I", "II", "III", "IV-A", "IV-B"]
PHASES: tuple[Phase, ...] = ("I", "II", "III", "IV-A", "IV-B")
UNDETERMINED = -1
Codes = npt.NDArray[np.int8]

CONNECTIVITY = ("mode_connectivity", "linear_connectivity")
"""Columns that say how well two models are connected, the first that a table has counts."""


class PhaseRule(BaseModel):
    """The thresholds between phases.

    Those of a rule that reproduces the published maps are the defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    train_loss: float = Field(0.05, description="Training loss from which a cell is sharp, in nats")
    log_trace: float = Field(
        6.0, description="Natural logarithm of the mean Hessian trace from which a cell is sharp"
    )
    poorly_connected: float = Field(
        -1.0, description="Connectivity of flat cells below which they are phase III, in percent"
    )
    unconverged: float = Field(
        1.0, description="Connectivity of flat cells above which they are phase II, in percent"
    )
    sharp_connectivity: float = Field(
        0.0, description="Connectivity of sharp cells below which they are phase I, in percent"
    )
    cka: float = Field(0.68, description="CKA from which flat, connected cells are phase IV-B")
    cka_quantile: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Take as CKA threshold this quantile among the flat, connected cells; "
        "None: the number above",
    )

    @model_validator(mode="after")
    def _in_order(self) -> PhaseRule:
        if self.poorly_connected > self.unconverged:
            raise ValueError(
                f"poorly_connected ({self.poorly_connected:g}) lies above "
                f"unconverged ({self.unconverged:g}): no cell would be well connected"
            )
        return self

    def codes(
        self, train_loss: Floats, log_trace: Floats, connectivity: Floats, cka: Floats
    ) -> Codes:
        """Return the place in :data:`PHASES` of each cell, −1 where NaNs leave it open.

        All arguments have one shape, whatever it is; so has the result. A cell has a phase
        exactly if every number in place of its NaNs would give it that phase.
        ``cka_quantile`` is not looked at.

        >>> import numpy as np
        >>> nan = float("nan")
        >>> PhaseRule().codes(*map(np.array, ([1.0, 0.001], [nan, 4.0], [-5.0, 0.0], [nan, nan])))
        array([ 0, -1], dtype=int8)
        """
        sharp = (train_loss >= self.train_loss) | (log_trace >= self.log_trace)
        flat = (train_loss < self.train_loss) & (log_trace < self.log_trace)
        joined = (connectivity >= self.poorly_connected) & (connectivity <= self.unconverged)
        codes = np.full(np.shape(train_loss), UNDETERMINED, dtype=np.int8)
        # So far above zero that the cell is II whether it is sharp or flat.
        codes[(connectivity > self.unconverged) & (connectivity >= self.sharp_connectivity)] = 1
        codes[sharp & (connectivity < self.sharp_connectivity)] = 0
        codes[sharp & (connectivity >= self.sharp_connectivity)] = 1
        codes[flat & (connectivity > self.unconverged)] = 1
        codes[flat & (connectivity < self.poorly_connected)] = 2
        codes[flat & joined & (cka < self.cka)] = 3
        codes[flat & joined & (cka >= self.cka)] = 4
        return codes

    def resolved(self, facts: Mapping[str, Floats]) -> PhaseRule:
        """Return the rule with the relative threshold replaced by the number it means here.

        ``facts`` are the arguments of :meth:`codes`, by name.
        """
        if self.cka_quantile is None:
            return self
        flat = (facts["train_loss"] < self.train_loss) & (facts["log_trace"] < self.log_trace)
        mc = facts["connectivity"]
        joined = flat & (mc >= self.poorly_connected) & (mc <= self.unconverged)
        known = facts["cka"][joined & np.isfinite(facts["cka"])]
        cka = float(np.quantile(known, self.cka_quantile)) if known.size else self.cka
        return self.model_copy(update={"cka": cka, "cka_quantile": None})


@dataclass(frozen=True)
class Verdicts:
    """The phase of each of N cells.

    Attributes
    ----------
    rule
        What was applied, every threshold a number.
    codes
        Places in :data:`PHASES`, shape (N,), −1 for undetermined.
    reasons
        In words, why each cell has its phase, or why it has none.
    columns
        The columns the rule read, by what it uses them for.
    """

    rule: PhaseRule
    codes: Codes
    reasons: tuple[str, ...]
    columns: dict[str, str]

    @property
    def phases(self) -> tuple[Phase | None, ...]:
        """The phase of each cell, None for undetermined."""
        return tuple(None if code < 0 else PHASES[code] for code in self.codes)

    @property
    def counts(self) -> dict[str, int]:
        """How many cells each phase has, all five and ``undetermined``."""
        found = Counter(self.phases)
        return {**{phase: found[phase] for phase in PHASES}, "undetermined": found[None]}


def facts_of(table: CellTable) -> tuple[dict[str, Floats], dict[str, str]]:
    """Return what the rule asks for, shape (N,) each, and the columns that it comes from.

    The logarithm is of the mean over models. What the table lacks is NaN, and has no column.
    """
    names = {"train_loss": "train_loss", "log_trace": "hessian_trace", "cka": "cka"}
    names["connectivity"] = next((c for c in CONNECTIVITY if c in table), CONNECTIVITY[0])
    nothing = np.full(len(table), np.nan)
    facts = {
        use: table.columns[name].values if name in table else nothing for use, name in names.items()
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        # A trace of zero or below is as flat as can be.
        trace = facts["log_trace"]
        facts["log_trace"] = np.where(trace <= 0, -np.inf, np.log(trace))
    return facts, {use: name for use, name in names.items() if name in table}


def classify(table: CellTable, rule: PhaseRule | None = None) -> Verdicts:
    """Sort the cells of a table into phases.

    >>> from llt_core.analysis import Axis, CellTable, Column
    >>> values = {"train_loss": 0.9, "hessian_trace": 3000.0, "mode_connectivity": -6.2}
    >>> columns = {name: Column(name, np.array([value])) for name, value in values.items()}
    >>> verdicts = classify(CellTable("one", (Axis("architecture.width", (2,)),), columns))
    >>> verdicts.phases
    ('I',)
    >>> verdicts.reasons[0]
    'sharp (train_loss 0.9 ≥ 0.05), poorly connected (mode_connectivity -6.2 < 0)'
    """
    facts, columns = facts_of(table)
    rule = (rule or PhaseRule()).resolved(facts)
    codes = rule.codes(**facts)
    words = _Words(rule, table, facts, columns)
    reasons = tuple(words.of(row, int(code)) for row, code in enumerate(codes))
    return Verdicts(rule, codes, reasons, columns)


@dataclass(frozen=True)
class _Words:
    """Says why a cell has its phase."""

    rule: PhaseRule
    table: CellTable
    facts: Mapping[str, Floats]
    columns: Mapping[str, str]

    def of(self, row: int, code: int) -> str:
        loss, trace, mc, cka = (
            float(self.facts[use][row])
            for use in ("train_loss", "log_trace", "connectivity", "cka")
        )
        if code == UNDETERMINED:
            return self._open(row, loss, trace, mc)
        rule = self.rule
        connectivity = f"{self.columns['connectivity']} {mc:.4g}"
        sharp = loss >= rule.train_loss or trace >= rule.log_trace
        if not sharp and (np.isnan(loss) or np.isnan(trace)):
            beyond = max(rule.unconverged, rule.sharp_connectivity)
            return f"sharp or flat, not poorly connected ({connectivity}, beyond {beyond:g})"
        if sharp:
            why = (
                f"train_loss {loss:.4g} ≥ {rule.train_loss:g}"
                if loss >= rule.train_loss
                else f"log hessian_trace {trace:.4g} ≥ {rule.log_trace:g}"
            )
            edge = f"{rule.sharp_connectivity:g}"
            if code == 0:
                return f"sharp ({why}), poorly connected ({connectivity} < {edge})"
            return f"sharp ({why}), connected ({connectivity} ≥ {edge})"
        if code == 2:
            return f"flat, poorly connected ({connectivity} < {rule.poorly_connected:g})"
        if code == 1:
            return f"flat, ends not converged ({connectivity} > {rule.unconverged:g})"
        relation = "<" if code == 3 else "≥"
        return f"flat, well connected ({connectivity}), cka {cka:.4g} {relation} {rule.cka:.4g}"

    def _open(self, row: int, loss: float, trace: float, mc: float) -> str:
        rule = self.rule
        if loss >= rule.train_loss or trace >= rule.log_trace:
            wanted = ["connectivity"]
        elif np.isnan(loss) or np.isnan(trace):
            wanted = [
                use
                for use, value in (("train_loss", loss), ("log_trace", trace))
                if np.isnan(value)
            ]
        else:
            wanted = ["connectivity"] if np.isnan(mc) else ["cka"]
        return "; ".join(self._missing(row, use) for use in wanted)

    def _missing(self, row: int, use: str) -> str:
        name = self.columns.get(use)
        if name is None:
            lacking = {"log_trace": "hessian_trace", "connectivity": " or ".join(CONNECTIVITY)}
            return f"no {lacking.get(use, use)} in the table"
        reason: Any = self.table.columns[name].reasons[row]
        return f"no {name}: {reason or 'not finite'}"
