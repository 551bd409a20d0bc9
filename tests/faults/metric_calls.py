"""One good call of every public name of `wingbeat.metrics`, and what strangers pass instead.

`attack` makes one call with one argument replaced and says how it went; the score and the tests
count what it returns.
"""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import scipy.sparse
import torch

import wingbeat.metrics as wm
from wingbeat.errors import WingbeatError

DRAW = np.random.default_rng(0)
RUN = DRAW.normal(size=(3, 4, 5))  # snapshots, replicas, parameters
POINTS, OTHER = RUN[0], RUN[1]
SCORES = DRAW.normal(size=(3, 6, 4))  # models, samples, classes
LABELS = np.array([0, 1, 2, 3, 0, 1])
X, Y = DRAW.normal(size=(9, 3)), DRAW.normal(size=(9, 2))
GRAM, LATER = POINTS @ POINTS.T, OTHER @ OTHER.T
WHOLE_GRAM = wm.gram(RUN.reshape(12, 5))
STEPS = np.array([0.0, 1.0, 2.0])
APART = np.exp(np.outer(STEPS, [0.5, 0.7]))
DRAWS = np.array([[1.0, 2.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
TWO_DRAWS = np.array([[1.0, 1.0], [2.0, 0.0]])
BARRIERS = np.array([[0.0, 0.01, 0.5], [0.01, 0.0, 0.4], [0.5, 0.4, 0.0]])
ABOVE = np.abs(POINTS) + 0.1

ONE = {"x": X, "y": Y}
GOOD = {
    "gram": {"points": POINTS, "centre": "mean"},
    "squared_distances": {"g": GRAM},
    "centred": {"g": GRAM},
    "l2": {"a": POINTS, "b": OTHER},
    "relative_l2": {"a": POINTS, "b": OTHER},
    "cosine": {"a": POINTS, "b": OTHER},
    "spread": {"points": POINTS},
    "spread_from_gram": {"g": GRAM, "weights": DRAWS, "ties": "drop"},
    "convergence_ratio": {"points": RUN},
    "ratio_of": {"first": 2.0, "last": 1.0},
    "spread_interval": {"g": GRAM, "level": 0.9, "power": 2.0},
    "spread_ratio": {"pairs": [(GRAM, LATER)], "level": 0.9, "power": 1.0},
    "mean_rate": {"rates": np.diagonal(GRAM), "first": GRAM, "last": LATER, "level": 0.9},
    "finite_time": {
        "steps": STEPS,
        "distances": APART,
        "floor": 0.1,
        "saturation": 9.0,
        "window": (0.0, 2.0),
        "weights": np.ones(2),
    },
    "fit_window": {"steps": STEPS, "distances": APART, "floor": 0.1, "saturation": 9.0},
    "finite_time_slopes": {"steps": STEPS, "log_distances": np.log(APART), "weights": TWO_DRAWS},
    "local_lyapunov": {"steps": STEPS, "spread": APART.T},
    "early_late_ratio": {"steps": STEPS, "spread": APART.T},
    "trajectory_pca": {"points": POINTS, "k": 2},
    "projected_spread": {"points": RUN, "k": 2},
    "projected_spread_from_gram": {"g": WHOLE_GRAM, "replicas": 4, "k": 2},
    "projected_spread_from_scores": {"scores": RUN.reshape(12, 5), "replicas": 4, "full": STEPS},
    "legacy_ratio": {"points": RUN, "k": 2},
    "participation_ratio": {"points": POINTS},
    "path_length": {"points": RUN},
    "velocity": {"points": RUN, "steps": STEPS},
    "disagreement": {"a": SCORES[0], "b": SCORES[1]},
    "pairwise_disagreement": {"scores": SCORES},
    "kl": {"a": SCORES[0], "b": SCORES[1]},
    "js": {"a": SCORES[0], "b": SCORES[1]},
    "logit_correlation": {"a": SCORES[0], "b": SCORES[1]},
    "ensemble": {"scores": SCORES, "labels": LABELS, "combine": "logit"},
    "diversity": {"base": SCORES[0], "scores": SCORES, "labels": LABELS},
    "alpha_grid": {"points": 5},
    "barrier": {
        "alphas": wm.alpha_grid(5),
        "values": DRAW.normal(size=(2, 5)),
        "convention": "mean",
    },
    "basins": {"barriers": BARRIERS, "threshold": 0.1, "method": "single"},
    "dendrogram": {"found": wm.basins(BARRIERS), "names": ["a", "b", "c"]},
    "fisher_precision": {"fisher": ABOVE, "samples": 10, "prior": 1.0},
    "gaussian_kl": {"mean_a": POINTS, "precision_a": ABOVE, "mean_b": OTHER, "precision_b": ABOVE},
    "cka": {**ONE, "estimator": "debiased"},
    "angular_cka": {**ONE, "estimator": "biased"},
    "hsic": {**ONE, "estimator": "zero_diagonal"},
    "svcca": {**ONE, "variance": 0.9},
    "procrustes": ONE,
    "CKASums.empty": {"first": 1, "second": 2, "estimator": "debiased"},
    "CKASums.add": {"first": [X], "second": [Y, X]},
    "CKASums.add_grams": {"first": GRAM[None], "second": np.stack([GRAM, LATER])},
}
"""Arguments of a good call by the name of what is called."""


class Hostile:
    """An object that fails at everything that is asked of it."""

    def __array__(self, *_, **__):
        raise TypeError("no array")

    def __repr__(self):
        raise RuntimeError("no words")


def _itself():
    """Return a list that holds itself."""
    found = [1.0]
    found.append(found)
    return found


ALIKE = {
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    "tensor": torch.tensor,
    "gradient": lambda x: torch.tensor(x).requires_grad_(x.dtype.kind == "f"),
    "parameter": lambda x: torch.nn.Parameter(torch.tensor(x), requires_grad=x.dtype.kind == "f"),
    "rows of tensors": lambda x: [torch.tensor(row) for row in x],
    "other end first": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "read only": lambda x: np.broadcast_to(x, x.shape),
}
"""Forms of the same numbers: each gives the same bits as the array."""
LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
}
"""Other places in memory, where NumPy adds in another order: the same up to rounding."""
NARROW = {
    "bfloat16": lambda x: torch.tensor(x).to(torch.bfloat16),
    "half": lambda x: x.astype(np.float16),
    "single with gradient": lambda x: torch.tensor(x, dtype=torch.float32).requires_grad_(),
}
"""Forms of less precision: each gives the same bits as its own numbers in float64."""
FOREIGN = {
    "none": lambda x: None,
    "text": lambda x: "points",
    "bytes": lambda x: b"\x00\x01",
    "object": lambda x: object(),
    "hostile": lambda x: Hostile(),
    "mapping": lambda x: {"a": x},
    "set": lambda x: {1.0, 2.0},
    "complex": lambda x: x + 1j,
    "complex tensor": lambda x: torch.tensor(x) * 1j,
    "sparse": lambda x: torch.tensor(np.atleast_2d(x)).to_sparse(),
    "csr": lambda x: scipy.sparse.csr_matrix(np.atleast_2d(x.reshape(len(x), -1))),
    "texts": lambda x: x.astype(str),
    "text lists": lambda x: x.astype(str).tolist(),
    "objects": lambda x: x.astype(object),
    "fractions": lambda x: [Fraction(1, 3)] * 4,
    "dates": lambda x: np.arange(4).astype("datetime64[s]"),
    "nones": lambda x: [None, 1.0],
    "ragged": lambda x: [[1.0, 2.0], [3.0]],
    "itself": lambda x: _itself(),
    "masked": lambda x: np.ma.masked_less(x, np.median(x) + 1e-9),
    "meta": lambda x: torch.empty(x.shape, device="meta"),
    "nested": lambda x: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "quantised": lambda x: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "function": lambda x: np.mean,
    "type": lambda x: float,
    "large whole numbers": lambda x: [2**70, 2**71],
}
"""What is no array of real numbers: refused by name."""
ODD_SCALARS = [
    *(object(), Hostile(), "x", "", b"x", 1j, [], [1], {}, (), float, np.array([1.0, 2.0])),
    torch.tensor([1.0, 2.0]),
]
"""What is no number, and no word that is known: refused by name."""
ANY_SCALARS = [
    *(None, True, -1, 0, 1, 2, 3, 2**31, 2**70, -(2**70), 10**400, 0.5, -0.5, 1e-320, 1e308),
    *(float("nan"), float("inf"), -float("inf"), np.float32(0.5), np.int64(3), Fraction(1, 3)),
    *(torch.tensor(0.5), torch.tensor(2), np.array(0.5)),
]
"""Numbers that may be out of range: a result, or a refusal by name."""


def function_of(name):
    """Return what is called under a name of `GOOD`."""
    if name == "CKASums.empty":
        return wm.CKASums.empty
    if name.startswith("CKASums."):
        return getattr(wm.CKASums.empty(1, 2), name.partition(".")[2])
    return getattr(wm, name)


def called(name, arguments):
    """Return "refused", or "value" and the result as plain values; other exceptions come out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "value", plain(function_of(name)(**arguments))
        except WingbeatError as error:
            return ("refused" if str(error) else "without a word"), str(error)


def plain(value):
    """Return a result as nested tuples of bytes and words, so that equal bits compare equal."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(plain(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, tuple | list):
        return tuple(map(plain, value))
    if isinstance(value, np.ndarray):
        return (value.shape, value.astype(float).tobytes() if value.dtype != object else str(value))
    return np.float64(value).tobytes() if isinstance(value, float) else repr(value)


def near(one, other):
    """Tell whether two plain results are the same up to rounding."""
    if isinstance(one, bytes) and isinstance(other, bytes) and len(one) == len(other):
        pair = np.frombuffer(one), np.frombuffer(other)
        return np.allclose(*pair, rtol=1e-9, atol=1e-12, equal_nan=True)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(near, one, other))
    return one == other


def attack(name, argument, kind, form, make):
    """Make one call; return "" where it went well, else "raw: …" or "wrong: …"."""
    good = GOOD[name]
    arguments = {**good, argument: make(good[argument])}
    try:
        how, found = called(name, arguments)
        said = f"{name}({argument} = {form})"
        if kind == "foreign":
            return "" if how == "refused" else f"wrong: {said} was taken"
        if kind == "any":
            return ""
        expected = dict(good)
        if kind == "narrow":
            narrow = arguments[argument]
            wide = narrow.detach().double().numpy() if isinstance(narrow, torch.Tensor) else narrow
            expected[argument] = np.asarray(wide, dtype=float)
        wanted = called(name, expected)
        if kind == "narrow" and wanted[0] == how == "refused":
            return ""
        same = (how, found) == wanted or (kind == "layouts" and near(found, wanted[1]))
        return "" if same else f"wrong: {said} gave {how} {str(found)[:80]}"
    except Exception as error:
        return f"raw: {name}({argument} = {form}) gave {type(error).__name__}: {str(error)[:80]}"


def attacks():
    """Yield the arguments of `attack` for every name, argument and form."""
    for name, good in GOOD.items():
        for argument, value in good.items():
            if isinstance(value, np.ndarray):
                yield from _of_array(name, argument, value)
            elif isinstance(value, int | float | str):
                for kind, values in (("foreign", ODD_SCALARS), ("any", ANY_SCALARS)):
                    for odd in values:
                        yield name, argument, kind, type(odd).__name__, lambda _, v=odd: v
            else:
                for odd in (*ODD_SCALARS[:8], None, 3, np.ones(3), [None], [(1, 2, 3)], ["ab"]):
                    yield name, argument, "any", type(odd).__name__, lambda _, v=odd: v


def _of_array(name, argument, value):
    kinds = {"alike": ALIKE, "layouts": LAYOUTS, "narrow": NARROW, "foreign": FOREIGN}
    if value.dtype.kind != "f":
        del kinds["narrow"]
    for kind, forms in kinds.items():
        for form, make in forms.items():
            if not allowed(name, argument, form):
                yield name, argument, kind, form, make


def allowed(name, argument, form):
    """Tell whether a form has another meaning for an argument, as documented."""
    optional = {
        ("spread_from_gram", "weights"),
        ("finite_time", "weights"),
    }
    if form == "none":
        return (name, argument) in optional
    return form == "rows of tensors" and (name, argument) == ("gram", "points")


def fuzz(count, seed):
    """Make random calls of random shapes and values; return what went wrong."""
    draw, found = np.random.default_rng(seed), []
    names = list(GOOD)
    for _ in range(count):
        name = names[draw.integers(len(names))]
        argument = draw.choice(list(GOOD[name]))
        make = random_array(draw)
        if isinstance(GOOD[name][argument], Mapping):
            continue
        found.append(attack(name, argument, "any", "random array", make))
    return found


def random_array(draw):
    """Return a maker of an array of random shape and of values at the ends of their range."""
    shape = tuple(int(x) for x in draw.integers(0, 5, size=draw.integers(0, 5)))
    values = np.array([0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, 0.5])
    array = draw.choice(values, size=shape)
    kinds = [lambda x: x, lambda x: x.tolist(), torch.tensor, lambda x: x > 0]
    kind = kinds[draw.integers(len(kinds))]
    return lambda _: kind(array)


def parameters_without_call():
    """Return public parameters that no good call names."""
    lacking = {}
    for name, good in GOOD.items():
        known = set(inspect.signature(function_of(name)).parameters)
        rest = known - set(good) - {"precomputed", "full", "window"}
        if rest:
            lacking[name] = rest
    return lacking
