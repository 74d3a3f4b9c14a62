"""What comes in and goes out, as the OpenAPI description tells it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Query parameters of /predict."""

    model_config = ConfigDict(extra="forbid")

    window: Annotated[float | None, Field(
        gt=0, le=3600, description="Seconds of each window of a long recording; by default as in training.")] = None
    overlap: Annotated[float, Field(
        ge=0, le=0.95, description="Share of a window that the next one covers too.")] = 0.5
    top: Annotated[int, Field(ge=0, description="How many of the most probable classes to tell; 0 tells all.")] = 0
    labels: Annotated[str, Field(
        max_length=1000, description="Classes to choose from, separated by commas; by default all.")] = ""


class Values(BaseModel):
    """What is told of a recording or a part of it: probabilities by class, or ratings by dimension."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[str | None, Field(description="The most probable class; not of ratings.")] = None
    probability: Annotated[float | None, Field(description="Of the most probable class; not of ratings.")] = None
    probabilities: Annotated[dict[str, float] | None, Field(
        description="By class, summing to 1 unless `top` leaves some out; not of ratings.")] = None
    ratings: Annotated[dict[str, float] | None, Field(description="By dimension; of models of ratings.")] = None


class Window(Values):
    """A part of a recording; seconds from its beginning."""

    start: float
    end: float


class Answer(Values):
    """What the model says of one recording: as `python -m sercl_jax.predict --format=jsonl` writes it."""

    path: Annotated[str, Field(description="The name that the file came with.")]
    seconds: Annotated[float, Field(description="How long it is.")]
    windows: list[Window]


class Bounds(BaseModel):
    """What one request may take."""

    max_mb: float
    max_seconds: float
    concurrency: int
    timeout: float


class About(BaseModel):
    """The model's card, and the limits of this server."""

    model_config = ConfigDict(extra="allow")

    method: str
    kind: Annotated[str, Field(description="classes or ratings")]
    labels: Annotated[list[str], Field(description="Classes, or rated dimensions.")]
    corpus: Annotated[str, Field(description="What it was trained on.")]
    seconds: Annotated[float, Field(description="How long a window of a long recording is by default.")]
    calibration: Annotated[str, Field(description="How probabilities were calibrated.")]
    notes: Annotated[list[str], Field(description="What whoever uses it should know.")]
    facts: dict[str, Any]
    limits: Bounds


class Health(BaseModel):
    status: str
    requests: Annotated[int, Field(description="Requests that are read, wait or are answered now.")]


class Error(BaseModel):
    """Every answer of a status from 400 on."""

    error: Annotated[str, Field(description="What is wrong and what to do, for people.")]
