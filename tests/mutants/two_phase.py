"""Faults of the study of two phases."""

from __future__ import annotations

from tests.mutants.faults import Fault

STUDY = ("studies/test_two_phase.py",)
CHANGE = ("metrics/test_change.py",)
PLANTED: list[tuple[str, str, str, str, tuple[str, ...]]] = [
    (
        "metrics/change.py",
        "the place of a step is taken from the run itself",
        "place = _place(rest.mean(axis=0)) if len(rest) else 0",
        "place = _place(row) if len(rest) else 0",
        CHANGE,
    ),
    (
        "metrics/change.py",
        "a step counts as sharp beside nothing",
        "_explained(row, _step(row, place)) - _explained(row, _line(row))",
        "_explained(row, _step(row, place))",
        CHANGE,
    ),
    (
        "metrics/change.py",
        "a rise has a place too",
        "row[:place].mean() <= row[place:].mean()",
        "row[:place].mean() == row[place:].mean()",
        CHANGE,
    ),
    (
        "metrics/structure.py",
        "what drifts a little is confined",
        'return "contradicted"',
        'return "supported" if high < 1 else "contradicted"',
        STUDY,
    ),
    (
        "studies/two_phase/found.py",
        "nudges are looked at when they are made",
        'f"disagreement/{t}/{t + self.elapsed}"',
        'f"disagreement/{t}/{t}"',
        STUDY,
    ),
    (
        "studies/two_phase/found.py",
        "nothing has a resolution",
        "least = self.each(\"resolution\")[:, None]",
        "least = 0 * self.each(\"resolution\")[:, None]",
        STUDY,
    ),
    (
        "studies/two_phase/found.py",
        "the kernel's turn is not divided by that of the weights",
        'return self.course("turn") / self.course("way")',
        'return self.course("turn")',
        STUDY,
    ),
    (
        "studies/two_phase/found.py",
        "moments are those of the kernel twice",
        'runs.moments("sensitivity") - runs.moments("turn")',
        'runs.moments("turn") - runs.moments("turn")',
        STUDY,
    ),
    (
        "studies/two_phase/found.py",
        "the gap is that of the start",
        'yield row("gap_at_quarter", runs.each("full") - runs.each(f"linearised/{half}"))',
        'yield row("gap_at_quarter", runs.each("full") - runs.each("linearised/0"))',
        STUDY,
    ),
    (
        "studies/two_phase/claims.py",
        "a fall alone is a transition",
        "all_of(judge(fall, FALL, above=True), judge(sharp, 0.0, above=True))",
        "judge(fall, FALL, above=True)",
        STUDY,
    ),
    (
        "studies/two_phase/claims.py",
        "a moment that comes earlier coincides",
        "all_of(judge(apart, NEAR, above=False), judge(apart, -NEAR, above=True))",
        "judge(apart, NEAR, above=False)",
        STUDY,
    ),
    (
        "studies/two_phase/claims.py",
        "a fixed kernel need not beat stopping",
        "all_of(judge(gap, POINTS, above=False), judge(gain, 0.0, above=True))",
        "judge(gap, POINTS, above=False)",
        STUDY,
    ),
    (
        "studies/two_phase/claims.py",
        "the centred kernel is judged by the other",
        'mark(found, f"{prefix}slope"), mark',
        'mark(found, "slope"), mark',
        STUDY,
    ),
    (
        "studies/two_phase/measure.py",
        "copies of all forks are one",
        'rows = own[(own["perturbation"] == fork) & (own["step"] >= at)]',
        'rows = own[own["step"] >= at]',
        STUDY,
    ),
    (
        "studies/two_phase/measure.py",
        "similarity is dissimilarity",
        "mean = 1 - mean if metric == \"cosine\" else mean",
        "mean = mean if metric == \"cosine\" else mean",
        STUDY,
    ),
    (
        "studies/two_phase/measure.py",
        "the kernel is not centred",
        'for prefix, centred in (("", False), ("centred_", True)):',
        'for prefix, centred in (("", False), ("centred_", False)):',
        STUDY,
    ),
    (
        "studies/two_phase/measure.py",
        "a kernel's turn starts a record late",
        "turned(made[t], made[t + dt])",
        "turned(made[t + steps[1]], made[t + dt])",
        STUDY,
    ),
    (
        "studies/two_phase/fixed_kernel.py",
        "the kernel that is held fixed is that of the start",
        "replace(linearised(task, at), steps=max(1, steps))",
        "replace(linearised(task, task.model()), steps=max(1, steps))",
        STUDY,
    ),
    (
        "studies/two_phase/figures.py",
        "rows and columns of the map change places",
        "tuple(cell(row, column) for column in columns) for row in rows",
        "tuple(cell(column, row) for column in columns) for row in rows",
        STUDY,
    ),
]  # fmt: skip
FAULTS = [Fault(name, file, old, new, tests) for file, name, old, new, tests in PLANTED]
