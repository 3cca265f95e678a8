"""Records on disk: strict pydantic models, read from JSON or TOML with one line on what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fusionkit.errors import DataError
from fusionkit.io.regular_files import read_regular

__all__ = ["Digest", "StrictRecord", "read_json_record"]

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""

Form = TypeVar("Form", bound=BaseModel)


class StrictRecord(BaseModel):
    """Base of what is written to disk: immutable, no unknown fields, no conversions, no infinities or NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def read_json_record(path: Path, form: type[Form], number: int, noun: str) -> Form:
    """Read a JSON file and check it against its form.

    Args:
        path: the file.
        form: the model, with a field ``format``.
        number: the format that this version reads.
        noun: what the file is, for messages.

    Raises:
        fusionkit.errors.DataError: it is missing, damaged, of another form or a newer one; names the file and field.
    """
    try:
        return form.model_validate_json(read_regular(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "format":
            found = f"{path}: is of format {first['input']!r}, this fusionkit reads {number}: upgrade"
            raise DataError(found) from None
        what = " ".join(first["msg"].split())
        raise DataError(
            f"{path}: is no {noun}, or damaged ({where or 'file'}: {what}): delete it and bench again"
        ) from None
