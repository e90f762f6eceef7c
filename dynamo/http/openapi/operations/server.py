"""The node that was asked: whether it serves, what it counts, what it can do. Pure."""

from collections.abc import Iterator

from dynamo.http.openapi.answers import (
    ALWAYS,
    PAGE_BODY,
    TEXT_BODY,
    WITH_FORMS,
    Answers,
    answer,
    bodies,
    in_json,
    json_of,
)
from dynamo.http.openapi.operations.operation import SERVER, Operations, get
from dynamo.http.openapi.parts import named


def paths() -> Iterator[tuple[str, Operations]]:
    """The paths, with what can be done there."""
    resources = answer("Resource to path.", {**PAGE_BODY, **json_of("Resources")}, ("Link", "Vary"))
    yield (
        "/",
        _told(
            "listResources",
            "List the resources that clients of Riak look for.",
            {**WITH_FORMS, "200": resources},
        ),
    )
    serves = answer("It does.", bodies(text_html="Text"))
    yield "/ping", _told("ping", "Ask whether the node serves.", {**ALWAYS, "200": serves})
    figures = answer("All figures.", {**json_of("Stats"), **TEXT_BODY}, ("Vary",))
    yield (
        "/stats",
        _told(
            "readStats",
            "Read what the node counts, by Riak's names and its own.",
            {**WITH_FORMS, "200": figures},
        ),
    )
    metrics = answer(
        "All figures, in the text format or as OpenMetrics.",
        {**TEXT_BODY, "application/openmetrics-text": {"schema": named("Text")}},
        ("Vary",),
    )
    yield (
        "/metrics",
        _told(
            "readMetrics", "Read what the node counts, for Prometheus.", {**ALWAYS, "200": metrics}
        ),
    )
    description = in_json("It is OpenAPI 3.1.", "Description")
    yield (
        "/openapi.json",
        _told("readDescription", "Read this description.", {**WITH_FORMS, "200": description}),
    )


def _told(name: str, description: str, answers: Answers) -> Operations:
    return get(SERVER, name, description, answers)
