"""What `summary.json` of a run's folder holds, checked when it is read: folders are strangers'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr, ValidationError

from wingbeat.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path


WITHOUT_DIGESTS: Final = (
    "The files of this folder carry no digests: an earlier version wrote them, and changes made to "
    "them since would not be noticed."
)


class SummaryFile(BaseModel):
    """Names and types of what stands in the file.

    Attributes:
        summary: scalars by name, each with its value, interval and reason.
        perturbations: facts about each perturbation.
        warnings: what to read before any number.
        seeds: base seeds.
        metrics: names, in the order in which they were measured.
        table: digest of the table that belongs to it.
        metric_code: digests of metrics that are not built in.
    """

    model_config = ConfigDict(extra="forbid")

    summary: dict[StrictStr, dict[StrictStr, Any]]
    perturbations: list[dict[StrictStr, Any]]
    warnings: list[StrictStr]
    seeds: list[StrictInt]
    metrics: list[StrictStr]
    table: StrictStr
    metric_code: dict[StrictStr, StrictStr] = {}


def checked(found: Any, path: Path) -> SummaryFile:
    """Return the content of a file as what it should be.

    Raises:
        StoreError: a key is missing, unknown, or of another type; the message names it.
    """
    try:
        return SummaryFile.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        msg = f"{path} is not of a run of wingbeat ({where}: {first['msg']})"
        raise StoreError(msg) from error
