"""Name by name beside deep-lyapunov itself; skipped where it is not installed (extra: bench)."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from dl_jobs import net, weights

pytest.importorskip("deep_lyapunov.analyzer")

MODULES = (
    "",
    ".analyzer",
    ".config",
    ".results",
    ".metrics",
    ".metrics.convergence",
    ".metrics.dimensionality",
    ".metrics.lyapunov",
    ".tracking",
    ".tracking.perturbation",
    ".tracking.tracker",
    ".visualization",
    ".visualization.plots",
)


def pair(module: str):
    return (
        importlib.import_module(f"deep_lyapunov{module}"),
        importlib.import_module(f"wingbeat.deep_lyapunov{module}"),
    )


def names(module) -> list[str]:
    """Public names of a module: what it lists, else what it defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    things = vars(module).items()
    return [n for n, t in things if n[0] != "_" and getattr(t, "__module__", "") == module.__name__]


CASES = [(module, name) for module in MODULES for name in names(pair(module)[0])]


def assert_compatible(theirs, ours, label: str) -> None:
    """Their parameters come first, with their names and defaults; what is added is optional."""
    old = list(inspect.signature(theirs).parameters.values())
    new = list(inspect.signature(ours).parameters.values())
    same = [p for p in old if p.kind is not p.VAR_KEYWORD]
    for a, b in zip(same, new[: len(same)], strict=True):
        assert (a.name, a.kind) == (b.name, b.kind), label
        factory = "factory" in str(a.default)
        assert factory or a.default == b.default, f"{label}: {a.name}"
    assert all(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) or p.default is not p.empty
               for p in new[len(same) :]), label  # fmt: skip
    if len(same) < len(old):
        assert new[-1].kind is inspect.Parameter.VAR_KEYWORD, label


@pytest.mark.parametrize(("module", "name"), CASES, ids=lambda part: part or "top")
def test_every_name_has_its_signature(module, name):
    theirs, ours = (getattr(m, name) for m in pair(module))
    if not callable(theirs):
        assert type(theirs) is type(ours)
        return
    assert_compatible(theirs, ours, name)
    if not inspect.isclass(theirs):
        return
    if dataclasses.is_dataclass(theirs):
        old, new = ([f.name for f in dataclasses.fields(c)] for c in (theirs, ours))
        assert new[: len(old)] == old
    for method, thing in inspect.getmembers(theirs):
        if method[0] != "_" and not isinstance(thing, (int, float, str, type(None))):
            counterpart = inspect.getattr_static(ours, method)
            assert isinstance(counterpart, property) == isinstance(thing, property), method
            if callable(thing):
                assert_compatible(thing, getattr(ours, method), f"{name}.{method}")


def test_the_same_seed_gives_the_same_copies():
    (theirs, ours), model = pair(".tracking"), net(2, 16, 3)
    for a, b in zip(
        theirs.create_perturbed_copies(model, 3),
        ours.create_perturbed_copies(model, 3),
        strict=True,
    ):
        torch.testing.assert_close(weights(a), weights(b), rtol=1e-6, atol=1e-8)


def test_legacy_numbers_are_theirs():
    points = np.random.default_rng(0).standard_normal((11, 4, 30)).cumsum(axis=0)
    theirs, ours = pair(".metrics")
    for k in (1, 2, 3):
        ratio = theirs.compute_convergence_ratio(points, k)
        assert ours.legacy_convergence_ratio(points, k) == pytest.approx(ratio, rel=1e-6)
        spread = theirs.compute_spread_evolution(points, k)
        np.testing.assert_allclose(ours.legacy_spread_evolution(points, k), spread, rtol=1e-6)
    exponent = theirs.compute_lyapunov_exponent(theirs.compute_spread_evolution(points), 10)
    assert ours.legacy_lyapunov_exponent(points) == pytest.approx(exponent, rel=1e-6)


def test_functions_that_were_right_agree():
    points = np.random.default_rng(0).standard_normal((11, 4, 30))
    for module, name, args in (
        (".metrics", "compute_lyapunov_exponent", ([1.0, 3.0, 2.0], 5)),
        (".metrics", "compute_local_lyapunov", (np.array([1.0, 3.0, 2.0]),)),
        (".metrics", "compute_participation_ratio", (points[0],)),
        (".metrics.convergence", "interpolate_trajectories", (points, 7)),
        (".metrics.convergence", "compute_manifold_center", (points,)),
        (".metrics.convergence", "compute_pairwise_distances", (points[0],)),
        (".metrics.dimensionality", "compute_cumulative_variance", (np.array([0.5, 0.25]),)),
        (".metrics.dimensionality", "compute_effective_dimensionality", (points, 3)),
        (".metrics.dimensionality", "compute_local_dimensionality", (points[:, 0], 4)),
        (".metrics.dimensionality", "find_intrinsic_dimension", (np.array([0.6, 0.3]), 0.8)),
    ):
        theirs, ours = (getattr(m, name)(*args) for m in pair(module))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7, err_msg=name)
    theirs, ours = (m.compute_lyapunov_from_trajectories(points) for m in pair(".metrics.lyapunov"))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-9)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)
    theirs, ours = (m.project_to_pca(points, 5) for m in pair(".metrics"))
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)
    np.testing.assert_allclose(np.abs(ours[0]), np.abs(theirs[0]), rtol=1e-4, atol=1e-6)
    stats = [m.get_parameter_statistics(net(2, 8, 2)) for m in pair(".tracking.perturbation")]
    assert stats[1] == pytest.approx(stats[0], rel=1e-5)


@pytest.mark.parametrize("name", ["basic", "own_loop", "compare"])
def test_the_examples_are_scripts_for_the_original(name, tmp_path, monkeypatch):
    """With the import line changed back they run on deep-lyapunov."""
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    path = Path(__file__).parents[2] / "examples" / f"deep_lyapunov_{name}.py"
    source = path.read_text(encoding="utf-8")
    changed = source.replace("from wingbeat.deep_lyapunov import", "from deep_lyapunov import")
    assert changed != source
    found = {"__name__": name}
    # Its participation ratio takes P³ time: a stub keeps the test short.
    analyzer = importlib.import_module("deep_lyapunov.analyzer")
    monkeypatch.setattr(analyzer, "compute_effective_dimensionality", lambda points: np.ones(1))
    exec(compile(changed, str(path), "exec"), found)
    assert found["main"]()
