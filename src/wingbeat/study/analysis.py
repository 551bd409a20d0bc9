"""What is known of a study while it is judged, and what its page says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any

import pandas as pd

from wingbeat.study.answer import Answer

if TYPE_CHECKING:
    from wingbeat.report.drawing.any_figure import AnyFigure
    from wingbeat.report.figures.table import Table
    from wingbeat.study.outcome import StudyResult
    from wingbeat.study.verdicts import Claim

    Section = tuple[str, str, tuple[AnyFigure, ...]]
    TitledTable = tuple[str, str, Table]

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class PageContent:
    """What the page of a study says and shows.

    Attributes:
        headline: the finding in a sentence of the study's own; "" takes its main claim.
        intro: paragraphs on what was done.
        facts: name, value and what stands below it.
        definitions: term and meaning.
        sections: identifier, heading and figures.
        tables: identifier, heading and table.
        alarms: what to read first, such as a stand-in for the data.
        asked: name and text of what was asked, besides what every study says of itself.
    """

    headline: str = ""
    intro: tuple[str, ...] = ()
    facts: tuple[tuple[str, str, str], ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    tables: Sequence[TitledTable] = ()
    alarms: tuple[str, ...] = ()
    asked: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Analysis:
    """What is known of a study while it is judged, step by step.

    Attributes:
        plan: what was asked.
        study: what is done.
        tables: findings, by the names of their CSV files.
        claims: each with its verdict.
        own: what the study read out of its records; see `NamedStudy`.
        question: what the study asks.
        answer: its main claims.
    """

    plan: Any
    study: StudyResult
    tables: Tables = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    own: Any = None
    question: str = ""
    answer: Answer = field(default_factory=Answer)

    @property
    def noise_floor(self) -> float:
        """Largest distance of an unperturbed twin from its reference; NaN if none was measured."""
        rows = self.study.conditions
        return float(rows["noise_floor"].max()) if "noise_floor" in rows else nan
