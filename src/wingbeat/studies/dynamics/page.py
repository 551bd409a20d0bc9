"""The page of the study: its words and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number
from wingbeat.studies.dynamics.estimates import DEFINITION_NAMES, DEFINITIONS, Definition
from wingbeat.studies.dynamics.figures import sections
from wingbeat.studies.dynamics.found import DynamicsFindings, FamilyFound, Net
from wingbeat.studies.dynamics.plan import SLOW
from wingbeat.studies.dynamics.trainings import TRAININGS
from wingbeat.study.analysis import PageContent
from wingbeat.tasks.architectures import FAMILY_NAMES

if TYPE_CHECKING:
    from wingbeat.study.analysis import Analysis

_DEFINITIONS: Final = {
    "spread, full space": "Root of the summed variance of all trainable weights over the copies. "
    "Ratio: at the end of training ÷ at the start. Below 1 the copies end closer together.",
    "spread, projected": "The same after projection to the first three principal components of "
    "all copies and recorded steps. They follow the common path, so that most of the nudge is "
    "invisible at the start: see what is kept under “Variance explained”.",
    "as deep-lyapunov 0.1.2": "What that library prints as its convergence ratio: the standard "
    "deviation of all projected coordinates, flattened, so that the path common to all copies is "
    "mixed in. It is no spread; it is here because the article may have used it. Its exponent "
    "comes from the projected spread.",
    "λ per epoch": "Slope of ln distance to the reference against the epoch, by least squares "
    "before saturation. The claims use ln ratio ÷ epochs under each definition.",
    "early ÷ late": "Mean |change of ln spread| per step in the first half of training ÷ in the "
    "second.",
    "noise floor": "Largest distance of an unperturbed twin from the reference. Exactly 0: "
    "execution repeats bit for bit, and every distance comes from the nudge.",
    "intervals": "95 %, Student's over base seeds, each of which counts once. Family means are "
    "over the nets with at least three base seeds, nets fixed. Each claim is judged at 5 % for "
    "itself; how many stay decided at 5 % for all together (Holm) stands among the facts. The word "
    "for a net's ratio (convergent, divergent) asks for an interval of 99 %.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    own: DynamicsFindings = found.own
    return PageContent(
        headline=headline(own),
        intro=tuple(_intro(own)),
        facts=_facts(own),
        definitions=_DEFINITIONS,
        sections=sections(own),
        tables=(
            ("master", "Families", master(own)),
            ("nets", "Architectures", nets(own)),
            ("definition", "Under each definition of spread", by_definition(own)),
        ),
        alarms=tuple(_alarms(own)),
        asked=_asked(own),
    )


def headline(found: DynamicsFindings) -> str:
    """Return the finding in one sentence."""
    counts = [f.counts["full"] for f in found.families]
    sure, apart, total = sum(c[0] for c in counts), sum(c[2] for c in counts), len(found.nets)
    if not total:
        return "Nothing is finished yet."
    return (
        f"Of {total} nets, nudged copies end farther apart in {apart} and closer together in "
        f"{sure}; {total - sure - apart} {'is' if total - sure - apart == 1 else 'are'} open."
    )


def _alarms(found: DynamicsFindings) -> list[str]:
    stand_ins = found.done[found.done["stand_in"].astype(bool)]["data"]
    said = [f"Not the data of the article: {label}." for label in dict.fromkeys(stand_ins)]
    if found.plan.quick:
        said.append(
            "Quick study: few samples and epochs, without the six most expensive nets. It shows "
            "how the study works; its verdicts are about these short trainings."
        )
    return said


def _facts(found: DynamicsFindings) -> tuple[tuple[str, str, str], ...]:
    copies, seeds = int(found.done["replicas"].sum()), found.done["seed"].nunique()
    return (
        ("nets", str(len(found.nets)), f"in {len(found.families)} families"),
        ("base seeds", str(seeds), "at most, for each net"),
        ("nudged copies", f"{copies:,}", "trained in all"),
    )


def _intro(found: DynamicsFindings) -> list[str]:
    data = "; ".join(f"{k}: {v}" for k, v in _data(found).items())
    share = number(100 * found.plan.perturbation)
    how = (
        f"Each net is trained with copies whose weights start {share} % of each tensor's "
        "standard deviation away from the reference. All copies see the same "
        "samples in the same order. Do they end closer together?"
    )
    free = (
        "Optimizers, learning rates and numbers of samples are a choice of this study: the "
        "article does not state them."
    )
    return [how, f"Data: {data}.", free]


def _asked(found: DynamicsFindings) -> list[tuple[str, str]]:
    plan = found.plan
    rows = [("perturbation", f"{plan.perturbation:g} of each tensor's standard deviation, step 0")]
    families = [f.family for f in found.families]
    rows += [(FAMILY_NAMES[f], TRAININGS[plan.size][f].words) for f in families]
    rows.append(("base seeds", ", ".join(str(s) for s in plan.base_seeds)))
    rows.append(("threads", "1 for each condition"))
    return rows + [("left out", ", ".join(SLOW))] * plan.quick


def _data(found: DynamicsFindings) -> dict[str, str]:
    return {
        FAMILY_NAMES[f.family]: "; ".join(
            dict.fromkeys(str(x) for x in found.done[found.done["family"] == f.family]["data"])
        )
        for f in found.families
    }


def master(found: DynamicsFindings) -> Table:
    """Return families: number of nets, convergent ones, mean ratio, λ and accuracy.

    All in the whole weight space; ``by_definition`` has the other definitions.
    """
    heads = (
        "family",
        "architectures",
        "convergent / open / divergent",
        "mean ratio",
        "λ per epoch",
        "accuracy",
    )
    return Table(heads, tuple(_family_row(f) for f in found.families))


def _family_row(family: FamilyFound) -> tuple[str, ...]:
    left = len(family.nets) - len(family.used)
    size = f"{len(family.nets)}" + (f" ({left} not in means: few seeds)" if left else "")
    return (
        FAMILY_NAMES[family.family],
        size,
        " / ".join(str(n) for n in family.counts["full"]),
        estimate_text(family.ratio["full"]),
        estimate_text(family.fitted),
        estimate_text(family.accuracy),
    )


def nets(found: DynamicsFindings) -> Table:
    """Return every architecture with its ratio in full space, λ and accuracy."""
    heads = (
        "architecture",
        "weights",
        "seeds",
        "ratio",
        "λ per epoch",
        "early ÷ late",
        "accuracy",
    )
    return Table(heads, tuple(_net_row(n) for n in found.nets))


def _net_row(net: Net) -> tuple[str, ...]:
    return (
        net.architecture.name,
        f"{net.architecture.parameters:,}",
        str(len(net.seeds)),
        f"{estimate_text(net.ratio['full'])}, {net.behavior['full']}",
        estimate_text(net.fitted),
        estimate_text(net.early_late),
        estimate_text(net.accuracy),
    )


def by_definition(found: DynamicsFindings) -> Table:
    """Return the ratio of families and architectures under each definition of spread."""
    rows = [
        (
            f"{FAMILY_NAMES[f.family]}, mean",
            *(f"{estimate_text(f.ratio[d])}; {_convergent(f, d)}" for d in DEFINITIONS),
        )
        for f in found.families
    ]
    rows += [
        (
            n.architecture.name,
            *(f"{estimate_text(n.ratio[d])}, {n.behavior[d]}" for d in DEFINITIONS),
        )
        for n in found.nets
    ]
    return Table(("ratio", *DEFINITION_NAMES.values()), tuple(rows))


def _convergent(family: FamilyFound, definition: Definition) -> str:
    sure, open_, _ = family.counts[definition]
    return f"{sure} of {len(family.nets)} convergent" + (f", {open_} open" if open_ else "")
