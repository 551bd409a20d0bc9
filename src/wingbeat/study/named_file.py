"""Study files that name a study, so that one file repeats what a page of results was made with.

All parts but ``study`` are optional::

    study = "chaos-at-edge"            # as in wingbeat study chaos-at-edge

    [options]                          # of its command, without the dashes
    net = ["cnn"]
    steps = 900
    lr = [0.05, 0.1, 0.2, 0.4]
    device = "cpu"                     # and where its nets are trained

    [quick]                            # with --quick instead of them: the same study in seconds
    steps = 40
    lr = []                            # nothing: what is usual

A flag is ``true`` or ``false``; what a command line takes as ``name=value`` is a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Part

from wingbeat.arguments import shown
from wingbeat.errors import RequestError, nearest
from wingbeat.study.file import parts_of, read_parts
from wingbeat.study.named import STUDIES, NamedStudy
from wingbeat.study.plan_options import number_text, option_name, plan_from

if TYPE_CHECKING:
    from wingbeat.study.named import Finding

RUN: Final = {"device": str, "compiled": bool}
"""Options of every study: where its nets are trained, and whether through ``torch.compile``."""


class _Parts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    study: str
    options: dict[str, Any] = Part(default_factory=dict)
    quick: dict[str, Any] = Part(default_factory=dict)


@dataclass(frozen=True)
class NamedFile:
    """What a file asks of a named study.

    Args:
        name: of the file, and of the default folder.
        study: the study.
        plan: what is asked of it.
        device: where its nets are trained.
        compiled: whether steps go through ``torch.compile``.
    """

    name: str
    study: NamedStudy
    plan: Any
    device: str = "cpu"
    compiled: bool = False

    @property
    def folder(self) -> Path:
        """The folder where nothing else is asked for: ``runs/<name>``."""
        return Path("runs") / self.name

    @property
    def command(self) -> str:
        """The command line that does the same without the file."""
        return self.study.command(self.plan, self.device, self.compiled)

    def run(self, out: str | Path | None = None, **options: Any) -> Finding:
        """Run what is left of it; see `wingbeat.study.named.NamedStudy.run`."""
        own: dict[str, Any] = {"device": self.device, "compiled": self.compiled}
        return self.study.run(self.plan, out or self.folder, **own, **options)


def names_a_study(path: str | Path) -> bool:
    """Return whether a study file names a study, rather than a grid of conditions.

    Raises:
        RequestError: the file cannot be read.
    """
    found = read_parts(Path(path))
    return isinstance(found, dict) and "study" in found


def read_named(path: str | Path, *, quick: bool = False) -> NamedFile:
    """Read a study file that names a study.

    Args:
        path: ends in ``.toml``, ``.yaml`` or ``.yml``.
        quick: take the options of its part ``quick`` instead of the same ones of ``options``.

    Raises:
        RequestError: it cannot be read, names no study or an unknown one, or asks for something
            that the study does not have.
    """
    path = Path(path)
    asked = parts_of(_Parts, read_parts(path), path)
    if quick and not asked.quick:
        raise RequestError(f"{path} has no part [quick]: say in it what takes seconds only")
    study = STUDIES.find(asked.study)
    given = {**asked.options, **asked.quick} if quick else dict(asked.options)
    given = {k: v for k, v in given.items() if not (quick and asked.quick.get(k) == [])}
    try:
        run = {name: _checked(name, RUN[name], given.pop(name)) for name in RUN if name in given}
        plan = plan_of(study, given)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    name = f"{path.stem}-quick" if quick else path.stem
    return NamedFile(name, study, plan, **run)


def plan_of(study: NamedStudy, options: Mapping[str, Any]) -> Any:
    """Return the plan that options ask for, by the names that they have on the command line.

    Raises:
        RequestError: there is no such option, or its value is not of its kind or out of range.

    Example:
        >>> plan = plan_of(STUDIES.find("chaos-at-edge"), {"net": "cnn", "steps": 40})
        >>> plan.nets, plan.steps, plan.seeds
        (('cnn',), 40, 10)
    """
    hints = get_type_hints(study.plan)
    known = {option_name(one): one for one in fields(study.plan) if "help" in one.metadata}
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            raise RequestError(f"{study.name} has no option {name!r}: {nearest(name, known)}")
        given[known[name].name] = _value(known[name], hints[known[name].name], value)
    return plan_from(study.plan, given)


def _value(one: Field[Any], hint: Any, value: Any) -> Any:
    """Return an option's value as its command line would give it."""
    name = option_name(one)
    if value in ([], {}):
        raise RequestError(f"{name} is empty: leave it out for what is usual")
    several = value if isinstance(value, list) else [value]
    if one.metadata.get("read"):
        return ",".join(_text(name, part) for part in several)
    return _checked(name, hint, several if get_origin(hint) is tuple else value)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RequestError(f"{name} is {shown(value)}: give text or numbers")
    return number_text(value) if isinstance(value, float) else str(value)


def _checked(name: str, hint: Any, value: Any) -> Any:
    """Return a value of a kind; one that is not of it is refused, by name."""
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        told = error.errors()[0]["msg"].lower().removeprefix("input ")
        raise RequestError(f"{name} is {shown(value)}: it {told}") from error
