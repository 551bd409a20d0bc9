"""The faults: a piece of one source file, what it becomes, and the quick tests that must notice."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One planted fault.

    Attributes:
        name: what goes wrong, in words.
        file: below ``src/wingbeat``.
        old: text that stands in it exactly once.
        new: what takes its place.
        tests: files below ``tests``.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


DANOVSKI = ("studies/test_danovski_verdicts.py",)
CURVATURE = ("studies/test_curvature_verdicts.py",)
DYNAMICS = ("studies/test_dynamics_verdicts.py",)
AXES = ("studies/test_butterfly_axes.py",)
BUTTERFLY = ("studies/test_butterfly_verdicts.py",)
STATES = ("studies/test_latent_states_verdicts.py",)
PAGE = ("report/test_report_numbers.py",)
TOPOLOGY = ("studies/test_topology_study.py", "studies/test_topology_verdicts.py")


def _faults(file: str, tests: tuple[str, ...], *planted: tuple[str, str, str]) -> list[Fault]:
    return [Fault(name, file, old, new, tests) for name, old, new in planted]


FAULTS: list[Fault] = [
    *_faults(
        "studies/danovski/claims.py",
        DANOVSKI,
        (
            "a published value is compared with its share",
            '_near(here["nmle"].value, value, TOLERANCE)',
            '_near(here["nmle"].value, share, TOLERANCE)',
        ),
        (
            "the accepted share is not looked at",
            'verdict=_near(here["accepted"].value, share, POINTS)',
            "verdict=claim.verdict",
        ),
        ("a falling exponent may rise", "b < a + 0.01", "b < a + 0.1"),
        (
            "ends are compared the wrong way",
            'if first["nmle"].low > last["nmle"].high',
            'if last["nmle"].low > first["nmle"].high',
        ),
        ("one calm size is enough", 'none = all(m["accepted"]', 'none = any(m["accepted"]'),
        (
            "the maximum is judged by the wrong end",
            'here["nmle"].low > whole.high',
            'here["nmle"].high > whole.low',
        ),
        (
            "chaos that ends counts as chaos",
            'judge(here[late], CHAOTIC, above=True), judge(here["late_positive"]',
            'HOLDS, judge(here["late_positive"]',
        ),
        (
            "chaos of few nets counts as chaos",
            'judge(here["late_positive"], 0.5, above=True)',
            'judge(here["late_positive"], 0.0, above=True)',
        ),
        (
            "early chaos is that of later on",
            'judge(here["exponent_0-200"], CHAOTIC',
            "judge(here[late], CHAOTIC",
        ),
        (
            "sizes are compared by the smallest",
            "max(ends) / min(ends) - 1",
            "min(ends) / max(ends) - 1",
        ),
        (
            "copies that come back count as staying",
            "judge(ratio, 0.8, above=True)",
            "judge(ratio, 0.7, above=True)",
        ),
        (
            "idle weights are judged by the line alone",
            "judge(share, 0.5, above=True)",
            "judge(line, 0.5, above=True)",
        ),
        (
            "a period in some nets is one in most",
            'judge(here["period_3"], 0.5, above=True)',
            'judge(here["period_3"], 0.0, above=True)',
        ),
        (
            "the mode of the rate has no lower bound",
            "0.2 <= mode.value <= 0.3",
            "mode.value <= 0.3",
        ),
        (
            "the slowest rate is taken for the soonest",
            "best = min(rows, key=lambda m: m",
            "best = max(rows, key=lambda m: m",
        ),
        ("one tied rate is enough", "HOLDS if all(inside)", "HOLDS if any(inside)"),
    ),
    *_faults(
        "studies/edge/page.py",
        CURVATURE,
        ("the edge ratio is inverted", "share = [s / t for", "share = [t / s for"),
        (
            "the late ratio is read from another column",
            'found = mean_of(cell, "sharpness_ratio")',
            'found = mean_of(cell, "seed")',
        ),
    ),
    *_faults(
        "studies/edge/claims.py",
        CURVATURE,
        (
            "runs that only get there count as at the edge",
            '(own["edge"] == "edge").sum()',
            '(own["edge"] != "stable").sum() + 1',
        ),
        ("an edge is claimed by one seed", "runs < FEWEST or 0 < at < runs", "0 < at < runs"),
        ("a sharpness that stays away holds", "HOLDS if at else FAILS", "HOLDS"),
    ),
    *_faults(
        "studies/curvature.py",
        CURVATURE,
        (
            "the measured ratio is inverted",
            "torch.tensor(values, dtype=torch.float64) / torch.tensor(thresholds)",
            "torch.tensor(thresholds, dtype=torch.float64) / torch.tensor(values)",
        ),
        (
            "the late ratio is taken early",
            "ratios[-max(1, len(ratios) // 3) :]",
            "ratios[: max(1, len(ratios) // 3)]",
        ),
        (
            "the end is read at the start",
            '"sharpness_end": number(values[-1])',
            '"sharpness_end": number(values[0])',
        ),
    ),
    *_faults(
        "studies/lr_phases/claims.py",
        CURVATURE,
        ("the background is not scaled", 'there["lambda_max"]) * ratio', 'there["lambda_max"])'),
        (
            "the background is scaled the wrong way",
            'own["lr"] / own["seed"].map(there["lr"])',
            'own["seed"].map(there["lr"]) / own["lr"]',
        ),
        ("a negative background is taken off", "beside.clip(lower=0.0)", "beside"),
        (
            "the background is that of the fastest rate",
            'rows["lr"] == rows["lr"].min()',
            'rows["lr"] == rows["lr"].max()',
        ),
        ("growth forgets the length of the run", '* own["steps"]', "* 1.0"),
        ("outcomes are read from the copies", 'label = "reference"', 'label = "p#1"'),
    ),
    *_faults(
        "studies/lr_phases/page.py",
        CURVATURE,
        (
            "phases are drawn at their value",
            'float(r["lr"]),\n            estimate_in',
            "float(r[name]),\n            estimate_in",
        ),
    ),
    *_faults(
        "studies/break_even/claims.py",
        CURVATURE,
        (
            "conjectured signs turn round",
            '(1 if a == "batch_size" else -1)',
            '(1 if a != "batch_size" else -1)',
        ),
        ("a conjecture is judged for the other sign", "above=sign > 0", "above=sign < 0"),
    ),
    *_faults(
        "studies/phase_diagram/claims.py",
        CURVATURE,
        (
            "a regime is judged by its upper end",
            '"condensed" if slope.low > 0',
            '"condensed" if slope.high > 0',
        ),
        (
            "a regime is claimed for the other side",
            'above=row["theory"] == "condensed"',
            'above=row["theory"] == "linear"',
        ),
    ),
    *_faults(
        "studies/phase_diagram/page.py",
        CURVATURE,
        (
            "slopes are drawn over the other exponent",
            'dot(float(r["gamma"]), estimate',
            'dot(float(r["gamma_prime"]), estimate',
        ),
        (
            "open places count as right",
            "for v in (HOLDS, FAILS))",
            'for v in ("undetermined", FAILS))',
        ),
    ),
    *_faults(
        "study/verdicts.py",
        ("study/test_named_studies.py",),
        ("a verdict is given by one end", "if found.low > bound:", "if found.high > bound:"),
        ("no interval is enough for a verdict", "or isnan(found.low) or isnan(found.high)", ""),
    ),
    *_faults(
        "study/plan_options.py",
        ("study/test_named_studies.py",),
        (
            "rates that were not asked for are run too",
            "said.setdefault(one.name, ())",
            "said.setdefault(one.name, one.default)",
        ),
        (
            "a text is not read",
            'f.metadata.get("read") or _as_given',
            "_as_given",
        ),
        (
            "a command leaves out what is unusual",
            "getattr(plan, f.name) != _usual(f)",
            "getattr(plan, f.name) == _usual(f)",
        ),
    ),
    *_faults(
        "studies/dynamics/claims.py",
        DYNAMICS,
        (
            "highest is above the lower of the others",
            "np.maximum(dense, cnn)",
            "np.minimum(dense, cnn)",
        ),
        (
            "highest is above the mean of the others",
            "own - np.maximum(dense, cnn)",
            "own - (dense + cnn) / 2",
        ),
        (
            "a claim is judged for the other side",
            "judge(found, 0.0, above=above)",
            "judge(found, 0.0, above=not above)",
        ),
        ("depth is compared the other way round", "_pairs(three, five)", "_pairs(five, three)"),
    ),
    *_faults(
        "studies/dynamics/found.py",
        DYNAMICS,
        (
            "λ per epoch reads the ratio",
            'fitted=mean_of(rows, "lyapunov_per_epoch")',
            'fitted=mean_of(rows, "convergence_ratio")',
        ),
        (
            "a family's λ reads the accuracy",
            'lambda r: r["lyapunov_per_epoch"]',
            'lambda r: r["accuracy"]',
        ),
    ),
    *_faults(
        "studies/dynamics/figures.py",
        DYNAMICS,
        (
            "the figure of λ shows the accuracy",
            '"How fast do they part?", lambda n: n.fitted',
            '"How fast do they part?", lambda n: n.accuracy',
        ),
        ("epochs are steps", '/ float(own["steps_per_epoch"].iloc[0])', "/ 1.0"),
        (
            "size is drawn at depth",
            'if what == "parameters":\n        return',
            'if what == "depth":\n        return',
        ),
    ),
    *_faults(
        "studies/butterfly/figures.py",
        AXES,
        (
            "growth lies over the size at the end",
            'own["quantity"] == "l2_start"',
            'own["quantity"] == "l2"',
        ),
        (
            "a map is turned",
            "[[cell(size, time) for time in times] for size in sizes]",
            "[[cell(size, time) for size in sizes] for time in times]",
        ),
        (
            "times stand where sizes belong",
            'rows=tuple(f"{s:g}" for s in sizes)',
            'rows=tuple(f"{t:g}" for t in times)',
        ),
        ("curves are not taken above the chord", '- rows["alpha"] * (last - first)', ""),
        (
            "interventions stand in each other's row",
            "float(names.index(row.intervention))",
            "float(len(names) - 1 - names.index(row.intervention))",
        ),
    ),
    *_faults(
        "studies/butterfly/rulings.py",
        BUTTERFLY,
        (
            "a ratio is inverted",
            "_quotient(w @ pairs[:, 0], w @ pairs[:, 1])",
            "_quotient(w @ pairs[:, 1], w @ pairs[:, 0])",
        ),
    ),
    *_faults(
        "studies/butterfly/claims.py",
        BUTTERFLY,
        (
            "a drop is judged as a rise",
            "judge(found, 0.5, above=False)",
            "judge(found, 0.5, above=True)",
        ),
        ("the largest sizes count as small", '(rows["size"] <= 0.011)', '(rows["size"] >= 0.011)'),
        (
            "small and large sizes change places",
            'rows[rows["size"] < 0.05], rows[rows["size"] >= 0.05]',
            'rows[rows["size"] >= 0.05], rows[rows["size"] < 0.05]',
        ),
        (
            "the slope is that of the other axis",
            "float((x @ y) / (x @ x))",
            "float((x @ y) / (y @ y))",
        ),
    ),
    *_faults(
        "measure/summary.py",
        ("measure/test_measures.py",),
        (
            "λ per epoch is λ per step",
            '"lyapunov_per_epoch": _scaled(slope, epochs)',
            '"lyapunov_per_epoch": slope',
        ),
        (
            "the ratio is the projected one",
            '"convergence_ratio": _ratio(facts)',
            '"convergence_ratio": _projected(facts)',
        ),
    ),
    *_faults(
        "report/pages/page_text.py",
        PAGE,
        (
            "the fact of the exponent reads two points",
            'rate = entry(result, "lyapunov", first_name(result))\n    if not',
            'rate = entry(result, "lyapunov_two_point", first_name(result))\n    if not',
        ),
    ),
    *_faults(
        "task/optimizers/stability.py",
        ("curvature/test_thresholds.py",),
        (
            "momentum lowers the threshold",
            "return (2 + 2 * momentum) / lr\n",
            "return (2 - 2 * momentum) / lr\n",
        ),
        (
            "Adam's threshold has the other sign",
            "return (1 + beta1) * (2 - lr * decay)",
            "return (1 - beta1) * (2 - lr * decay)",
        ),
    ),
    *_faults(
        "curvature/edge.py",
        ("curvature/test_edge_of_stability.py",),
        ("the threshold counts as reached above it", "ratio >= 1 - near", "ratio >= 1 + 10 * near"),
    ),
    *_faults(
        "metrics/spread.py",
        ("metrics/test_spread.py",),
        ("spread divides by one less", "np.sqrt(total / n)", "np.sqrt(total / (n - 1))"),
    ),
    *_faults(
        "studies/latent_states/claims.py",
        STATES,
        (
            "fewer forks count as more",
            "judge(forks, 0.0, above=True)",
            "judge(forks, 0.0, above=False)",
        ),
        (
            "runs that differ more count as alike",
            "judge(apart, 0.0, above=True)",
            "judge(apart, 0.0, above=False)",
        ),
        (
            "a likelihood that rises counts as an elbow",
            "judge(last, 0.0, above=False)",
            "judge(last, 0.0, above=True)",
        ),
        (
            "little that is explained counts as much",
            "judge(r2, MOST, above=True)",
            "judge(r2, 0.0, above=True)",
        ),
        (
            "copies that are far count as near",
            "judge(copies, TOGETHER, above=False)",
            "judge(copies, TOGETHER, above=True)",
        ),
        (
            "a detour that was never tested counts as gone",
            '"detour" in plain and "undetermined" not in norm',
            '"detour" in plain',
        ),
        (
            "a detour with LayerNorm is passed over",
            'if "detour" in norm or plain <=',
            "if plain <=",
        ),
        (
            "an untested state counts as no detour",
            'plain <= {"no detour"}',
            'plain <= {"no detour", "undetermined"}',
        ),
    ),
    *_faults(
        "studies/latent_states/found.py",
        STATES,
        (
            "forks are those of pooled scores less those of each run",
            "np.mean(each_own, axis=0) - np.mean(pooled, axis=0)",
            "np.mean(pooled, axis=0) - np.mean(each_own, axis=0)",
        ),
        (
            "forks at a chosen number of states are those at one",
            'each_own = [_groups(found, row["key"], f"{name}_each")',
            'each_own = [_groups(found, row["key"], "optional_same_each")',
        ),
        (
            "LayerNorm and its absence change places",
            "one = over_seeds(plain - norm",
            "one = over_seeds(norm - plain",
        ),
        (
            "runs that never converged count as converged",
            'runs = runs[runs["converged"].notna()]',
            'runs = runs.fillna({"converged": 0.0})',
        ),
    ),
    *_faults(
        "studies/topology/claims.py",
        TOPOLOGY,
        (
            "the question is asked of untrained nets",
            'read(table, f"expansion_{rule}_end"',
            'read(table, f"expansion_{rule}_start"',
        ),
        (
            "nets like these are judged by base seeds",
            '("nets like these", correlation_of)',
            '("nets like these", among_these)',
        ),
        (
            "learned is judged against 0",
            "else None,\n                1.0,",
            "else None,\n                0.0,",
        ),
        (
            "encoders are read by the rule of decoders",
            '("each by its own rule", ("input", "layer"))',
            '("each by its own rule", ("input", "input"))',
        ),
        (
            "the encoder is divided by the decoder",
            '{"input": "GPT", "layer": "BERT"}',
            '{"input": "BERT", "layer": "GPT"}',
        ),
        (
            "a wide span is flat",
            "FLAT,\n                above=False",
            "FLAT,\n                above=True",
        ),
        (
            "scale is ranked against itself",
            'for what in ("expansion", "size")',
            'for what in ("expansion", "expansion")',
        ),
    ),
    *_faults(
        "studies/topology/found.py",
        TOPOLOGY,
        ("growth is untrained over trained", "= last / first", "= first / last"),
        ("nets without a value count as open ones", "if np.isfinite(r).all()])", "if len(r)])"),
        ("base seeds of all are one", "there & (seeds == seed)", "there & (seeds == seeds)"),
    ),
    *_faults(
        "studies/topology/measure.py",
        TOPOLOGY,
        ("the peak may be what goes in", "np.max(totals[1:])", "np.max(totals)"),
        ("the first layer is what goes in", "zip(RULES, totals[:2]", "zip(RULES, totals[1::-1]"),
        ("mean shape counts what goes in", "layers = shapes[1:]", "layers = shapes"),
        ("bars keep the scale of the activations", "distances(x) / mean", "distances(x)"),
        (
            "start and end are the same net",
            "(result.steps[0], result.steps[-1])",
            "(result.steps[-1], result.steps[-1])",
        ),
    ),
    *_faults(
        "studies/topology/clouds.py",
        TOPOLOGY,
        (
            "padding counts as words",
            "real = (words != PAD).double()",
            "real = (words != -1).double()",
        ),
        ("a decoder is read at its first word", "last if causal else 0", "0 if causal else last"),
    ),
    *_faults(
        "metrics/persistence.py",
        ("metrics/test_topology_oracles.py",),
        ("loops are counted mod 11", "homology_coeff_field=2", "homology_coeff_field=11"),
    ),
    *_faults(
        "metrics/neighbours.py",
        ("metrics/test_topology_oracles.py",),
        ("a point is its own neighbour", "[:, 1 : neighbours + 1]", "[:, :neighbours]"),
        ("copies come before the point itself", "apart, -1.0)", "apart, 0.0)"),
        ("apart is one step more than the farthest", "steps, n))", "steps, 2))"),
    ),
]
