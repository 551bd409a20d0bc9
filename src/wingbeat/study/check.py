"""Refuse a study that cannot work before any of it is computed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from wingbeat.arguments import shown
from wingbeat.errors import RequestError, nearest
from wingbeat.execution.arguments import MOST_REPLICAS
from wingbeat.replicas.drivers.registry import check_driver
from wingbeat.study.condition import Condition, named


class Fields(BaseModel):
    """The types of a condition's fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    factory: str
    arguments: dict[str, Any]
    perturbations: tuple[dict[str, Any], ...]
    replicas: int = Field(ge=1, le=MOST_REPLICAS)
    record_every: Annotated[int, Field(ge=1)] | Literal["epoch"] | None
    metrics: tuple[str, ...] | None
    seeds: tuple[Annotated[int, Field(gt=-(2**63), lt=2**63)], ...]
    dtype: Literal["float16", "bfloat16", "float32", "float64"]
    device: str
    driver: Annotated[str, AfterValidator(check_driver)]
    measures: tuple[str, ...]
    tags: dict[str, Any]
    optimizer: dict[str, Any] | None
    compiled: bool


def check_conditions(conditions: Iterable[Condition]) -> None:
    """Refuse a condition whose fields, factory, arguments, perturbation or optimizer are wrong.

    Nothing is built: factories are looked up and their signatures compared with the arguments.

    Raises:
        RequestError: names the first that is wrong and what to change.

    Example:
        >>> check_conditions([Condition("wingbeat.tasks.dense:circles_task", {"lr": 0.1})])
    """
    seen: set[str] = set()
    for condition in conditions:
        _check_types(condition)
        for act, content in (
            (_check_factory, [condition.factory, sorted(condition.arguments)]),
            (_check_forks, condition.perturbations),
            (_check_optimizer, condition.optimizer),
            (_check_measures, condition.measures),
        ):
            mark = f"{act.__name__} {json.dumps(content, sort_keys=True)}"
            if mark not in seen:
                act(condition)
                seen.add(mark)


def check_types(conditions: Iterable[Condition]) -> None:
    """Refuse a field whose value has another type than the field.

    Raises:
        RequestError: names the first.
    """
    for condition in conditions:
        _check_types(condition)


def _check_types(condition: Condition) -> None:
    content = {name: getattr(condition, name) for name in Fields.model_fields}
    try:
        Fields.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"{place} is {shown(first['input'])}: {first['msg']}") from error


def _check_factory(condition: Condition) -> None:
    factory = named(condition.factory)
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # built in: it has no signature to compare with
    try:
        signature.bind(**condition.arguments)
    except TypeError as error:
        known = list(signature.parameters)
        wrong = next((n for n in condition.arguments if n not in known), "")
        hint = nearest(wrong, known) if wrong else f"it takes: {', '.join(known)}"
        raise RequestError(f"{condition.factory}: {error}; {hint}") from error


def _check_forks(condition: Condition) -> None:
    condition.forks()


def _check_optimizer(condition: Condition) -> None:
    condition.own_optimizer()


def _check_measures(condition: Condition) -> None:
    for place in condition.measures:
        named(place)
