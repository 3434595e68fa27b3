"""The base class of the parts of ``report.json``."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of the report: immutable; fields of later versions are kept."""

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, ser_json_inf_nan="null"
    )
