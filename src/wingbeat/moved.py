"""Where modules were before they moved, so that old names and old folders keep working.

Conditions and run folders on a disk name the modules of their time. An old name still imports,
with a warning, for one version; and what identifies a run (`first_name`) keeps the name under
which the module was first published, so that a folder of then is resumed and not trained again.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

MOVED: Final[dict[str, tuple[str, ...]]] = {
    "wingbeat.external": ("wingbeat.execution.external",),
    "wingbeat.noise_sources": ("wingbeat.analyses.noise_sources",),
    "wingbeat.onset": ("wingbeat.analyses.onset",),
    "wingbeat.replicas.driver_cache": ("wingbeat.replicas.drivers.cache",),
    "wingbeat.replicas.driver_selection": ("wingbeat.replicas.drivers.selection",),
    "wingbeat.replicas.lockstep": ("wingbeat.replicas.drivers.lockstep",),
    "wingbeat.replicas.loop": ("wingbeat.replicas.drivers.loop",),
    "wingbeat.replicas.object_loop": ("wingbeat.replicas.drivers.object_loop",),
    "wingbeat.request": ("wingbeat.execution.request",),
    "wingbeat.result": ("wingbeat.execution.result",),
    "wingbeat.run": ("wingbeat.execution.run",),
    "wingbeat.session": ("wingbeat.execution.session",),
    "wingbeat.study.fresh": ("wingbeat.study.runner.fresh", "wingbeat.worker_server"),
    "wingbeat.study.inline": ("wingbeat.study.runner.inline",),
    "wingbeat.study.processes": ("wingbeat.study.runner.processes",),
    "wingbeat.study.protocol": ("wingbeat.study.runner.protocol",),
    "wingbeat.study.ray_runner": ("wingbeat.study.runner.ray",),
    "wingbeat.study.slurm_runner": ("wingbeat.study.runner.slurm",),
    "wingbeat.summary": ("wingbeat.execution.summary",),
    "wingbeat.verify": ("wingbeat.execution.verify",),
    "wingbeat.zoo.architectures": ("wingbeat.tasks.architectures",),
    "wingbeat.zoo.break_even": (
        "wingbeat.studies.break_even",
        "wingbeat.studies.break_even.plan",
        "wingbeat.studies.break_even.claims",
    ),
    "wingbeat.zoo.butterfly": ("wingbeat.studies.butterfly",),
    "wingbeat.zoo.butterfly_beyond": ("wingbeat.studies.butterfly.beyond",),
    "wingbeat.zoo.butterfly_beyond_claims": ("wingbeat.studies.butterfly.beyond_claims",),
    "wingbeat.zoo.butterfly_cells": ("wingbeat.studies.butterfly.grid",),
    "wingbeat.zoo.butterfly_claims": ("wingbeat.studies.butterfly.claims",),
    "wingbeat.zoo.butterfly_figures": ("wingbeat.studies.butterfly.figures",),
    "wingbeat.zoo.butterfly_plan": ("wingbeat.studies.butterfly.plan",),
    "wingbeat.zoo.butterfly_published": ("wingbeat.studies.butterfly.published",),
    "wingbeat.zoo.butterfly_report": ("wingbeat.studies.butterfly.page",),
    "wingbeat.zoo.butterfly_rulings": ("wingbeat.studies.butterfly.rulings",),
    "wingbeat.zoo.butterfly_tables": ("wingbeat.studies.butterfly.found",),
    "wingbeat.zoo.butterfly_tasks": ("wingbeat.tasks.from_scratch",),
    "wingbeat.zoo.cifar": ("wingbeat.tasks.data.cifar10",),
    "wingbeat.zoo.cnn": ("wingbeat.tasks.cnn",),
    "wingbeat.zoo.curvature_measures": ("wingbeat.studies.curvature",),
    "wingbeat.zoo.curvature_study": (
        "wingbeat.study.named",
        "wingbeat.study.finished",
        "wingbeat.report.figures.estimates",
    ),
    "wingbeat.zoo.curvature_tasks": ("wingbeat.tasks.full_batch",),
    "wingbeat.zoo.danovski": ("wingbeat.studies.danovski",),
    "wingbeat.zoo.danovski_claims": ("wingbeat.studies.danovski.claims",),
    "wingbeat.zoo.danovski_definitions": ("wingbeat.studies.danovski.page",),
    "wingbeat.zoo.danovski_estimates": ("wingbeat.studies.danovski.estimates",),
    "wingbeat.zoo.danovski_experiments": ("wingbeat.studies.danovski.experiments",),
    "wingbeat.zoo.danovski_figures": ("wingbeat.studies.danovski.figures",),
    "wingbeat.zoo.danovski_found": ("wingbeat.studies.danovski.found",),
    "wingbeat.zoo.danovski_long": ("wingbeat.studies.danovski.orbits",),
    "wingbeat.zoo.danovski_long_claims": ("wingbeat.studies.danovski.claims",),
    "wingbeat.zoo.danovski_long_figures": ("wingbeat.studies.danovski.figures",),
    "wingbeat.zoo.danovski_measures": ("wingbeat.studies.danovski.measure",),
    "wingbeat.zoo.danovski_plan": ("wingbeat.studies.danovski.plan",),
    "wingbeat.zoo.danovski_report": ("wingbeat.studies.danovski.page",),
    "wingbeat.zoo.danovski_series": ("wingbeat.studies.danovski.series",),
    "wingbeat.zoo.data": ("wingbeat.tasks.data.sklearn",),
    "wingbeat.zoo.demo": ("wingbeat.studies.demo",),
    "wingbeat.zoo.dense": ("wingbeat.tasks.dense",),
    "wingbeat.zoo.dynamics": ("wingbeat.studies.dynamics.measure", "wingbeat.studies.dynamics"),
    "wingbeat.zoo.dynamics_claims": ("wingbeat.studies.dynamics.claims",),
    "wingbeat.zoo.dynamics_estimates": ("wingbeat.studies.dynamics.estimates",),
    "wingbeat.zoo.dynamics_figures": ("wingbeat.studies.dynamics.figures",),
    "wingbeat.zoo.dynamics_marks": ("wingbeat.studies.dynamics.figures",),
    "wingbeat.zoo.dynamics_net_figures": ("wingbeat.studies.dynamics.figures",),
    "wingbeat.zoo.dynamics_plan": ("wingbeat.studies.dynamics.plan",),
    "wingbeat.zoo.dynamics_report": ("wingbeat.studies.dynamics.page",),
    "wingbeat.zoo.dynamics_summary": ("wingbeat.studies.dynamics.found",),
    "wingbeat.zoo.dynamics_tables": ("wingbeat.report.pages.table_text",),
    "wingbeat.zoo.dynamics_time": ("wingbeat.studies.dynamics.cost",),
    "wingbeat.zoo.edge": (
        "wingbeat.studies.edge",
        "wingbeat.studies.edge.plan",
        "wingbeat.studies.edge.claims",
    ),
    "wingbeat.zoo.finetune": ("wingbeat.tasks.models.language",),
    "wingbeat.zoo.finetune_answers": ("wingbeat.tasks.gsm8k",),
    "wingbeat.zoo.finetune_claims": ("wingbeat.studies.butterfly.fine_tuning",),
    "wingbeat.zoo.finetune_tasks": ("wingbeat.tasks.sst2",),
    "wingbeat.zoo.gsm8k": ("wingbeat.tasks.data.gsm8k",),
    "wingbeat.zoo.iris": ("wingbeat.tasks.iris",),
    "wingbeat.zoo.lr_phases": (
        "wingbeat.studies.lr_phases",
        "wingbeat.studies.lr_phases.plan",
        "wingbeat.studies.lr_phases.claims",
    ),
    "wingbeat.zoo.lr_phases_page": ("wingbeat.studies.lr_phases.page",),
    "wingbeat.zoo.phase_diagram": (
        "wingbeat.studies.phase_diagram",
        "wingbeat.studies.phase_diagram.plan",
        "wingbeat.studies.phase_diagram.claims",
    ),
    "wingbeat.zoo.pretrained": ("wingbeat.tasks.models.pretrained",),
    "wingbeat.zoo.recipe": ("wingbeat.tasks.recipe",),
    "wingbeat.zoo.resnet": ("wingbeat.tasks.models.resnet",),
    "wingbeat.zoo.shakespeare": (
        "wingbeat.tasks.data.shakespeare",
        "wingbeat.tasks.models.character_gpt",
    ),
    "wingbeat.zoo.sources": ("wingbeat.tasks.data.sources",),
    "wingbeat.zoo.text": ("wingbeat.tasks.data.text",),
    "wingbeat.zoo.tokens": ("wingbeat.tasks.data.tokens",),
    "wingbeat.zoo.transformer": ("wingbeat.tasks.models.transformer",),
    "wingbeat.zoo.vit": ("wingbeat.tasks.models.vit",),
}
"""Modules as they were called, and where what they held is now."""
_FIRST: Final = {new: old for old, places in reversed(MOVED.items()) for new in places}


def first_name(place: str) -> str:
    """Return a module, or ``module:name``, under the name that the module was published with.

    Example:
        >>> first_name("wingbeat.tasks.dense:circles_task")
        'wingbeat.zoo.dense:circles_task'
        >>> first_name("mine:task")
        'mine:task'
    """
    module, colon, name = place.partition(":")
    return _FIRST.get(module, module) + colon + name


def first_names(content: Any) -> Any:
    """Return plain JSON in which every ``module:name`` is the first one.

    Example:
        >>> first_names({"factory": "wingbeat.tasks.dense:circles_task", "n": [1, "a"]})
        {'factory': 'wingbeat.zoo.dense:circles_task', 'n': [1, 'a']}
    """
    if isinstance(content, dict):
        return {key: first_names(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [first_names(value) for value in content]
    return first_name(content) if isinstance(content, str) and ":" in content else content


def former_names(package: str, renamed: dict[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__`` that knows names of before for one version.

    Args:
        package: its ``__name__``.
        renamed: the present name for each former one.

    Example:
        >>> import warnings
        >>> from wingbeat import metrics
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", DeprecationWarning)
        ...     metrics.local is metrics.local_lyapunov
        True
    """

    def find(name: str) -> Any:
        if name not in renamed:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        msg = f"{package}.{name} is called {renamed[name]} now"
        warnings.warn(msg, DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[package], renamed[name])

    return find


class FormerModules(MetaPathFinder, Loader):
    """Finds the former modules, and gives each of their names from where it is now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a specification for a module that has moved, None for any other."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a former module with what its new places hold."""
        module.__doc__ = _told(module.__name__)
        for found in reversed(_places(module.__name__)):
            vars(module).update({k: v for k, v in vars(found).items() if not k.startswith("__")})


class _Shadowed(ModuleType):
    """A former module whose name is a function of the package now.

    It waits among the loaded modules: were it imported, the import system would put it in the
    function's place.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _told(self.__name__)
        return getattr(_places(self.__name__)[0], name)


def keep_former_names(*shadowed: str) -> None:
    """Let the former modules be imported for one version, each with a warning.

    Args:
        shadowed: those whose name the package gives to a function.
    """
    sys.meta_path.append(FormerModules())
    for name in shadowed:
        sys.modules[name] = _Shadowed(name)


def _places(old: str) -> list[ModuleType]:
    return [importlib.import_module(place) for place in MOVED[old]]


def _told(old: str) -> str:
    msg = f"{old} has moved to {' and '.join(MOVED[old])}: import it from there"
    warnings.warn(msg, DeprecationWarning, stacklevel=3)
    return msg
