"""The description of the interface against the code that answers."""

import ast
import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from dynamo.core.property_rules import DEFAULTS, coerced, known_names
from dynamo.http import routes
from dynamo.http.app import HttpServer
from dynamo.http.openapi.document import document
from dynamo.http.openapi.parameters import PARAMETERS
from dynamo.http.routes import Resource, resolve
from dynamo.http.wire import BOOLEAN_PARAMETERS, QUORUM_PARAMETERS
from tests.unit.http.fake_node import FakeNode
from tests.unit.http.talk import talking

Json = Mapping[str, object]

DOCUMENT = cast("Json", json.loads(json.dumps(document("1.2.3"))))
PATHS = cast("Mapping[str, Mapping[str, Json]]", DOCUMENT["paths"])
SCHEMAS: Mapping[str, Any] = cast("Mapping[str, Any]", DOCUMENT["components"])["schemas"]
OPERATIONS = [
    (path, method, operation) for path, item in PATHS.items() for method, operation in item.items()
]


def _segments(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_name(segment: str) -> bool:
    return segment.startswith("{")


def _resource(path: str) -> Resource:
    """What a described path names, with a name that is no word of any path in its gaps."""
    route = resolve("/".join(["", *("Ω" if _is_name(s) else s for s in _segments(path))]))
    assert route is not None, f"{path} is described and names nothing"
    return route[0]


def _handled() -> dict[Resource, set[str]]:
    """The methods that the server has handlers for."""
    node = FakeNode()
    server = HttpServer(node, node.config)
    return {
        resource: {method.lower() for method in methods}
        for resource, methods in server.methods.items()
    }


HANDLED = _handled()


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


# -- complete ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_path_has_the_methods_that_the_server_handles_there_and_no_others(path: str) -> None:
    assert set(PATHS[path]) == HANDLED[_resource(path)]


def test_every_resource_is_described() -> None:
    assert {_resource(path) for path in PATHS} == set(HANDLED)


def _words() -> list[str]:
    """Every word that the code of the routes compares a part of a path with."""
    tree = ast.parse(inspect.getsource(routes))
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return sorted(text for text in texts if text.replace(".", "").replace("-", "").isalnum())


def _described(segments: tuple[str, ...]) -> str | None:
    """The most literal of the described paths that has these segments."""
    fitting = [
        path
        for path in PATHS
        if len(parts := _segments(path)) == len(segments)
        and all(_is_name(p) or p == s for p, s in zip(parts, segments, strict=True))
    ]
    return min(fitting, key=lambda path: [_is_name(s) for s in _segments(path)], default=None)


def test_the_words_of_all_paths_are_found() -> None:
    assert {"buckets", "keys", "props", "admin", "openapi.json", "types"} <= set(_words())


def test_every_path_that_names_something_is_described() -> None:
    """Beginnings of described paths with up to two more words cover what was forgotten, too."""
    words = [*_words(), "Ω"]
    beginnings = {
        tuple("Ω" if _is_name(s) else s for s in _segments(path)[:length])
        for path in PATHS
        for length in range(len(_segments(path)) + 1)
    }
    for beginning in sorted(beginnings):
        for ending in itertools.chain([()], *(itertools.product(words, repeat=n) for n in (1, 2))):
            segments = (*beginning, *ending)
            route = resolve("/" + "/".join(segments))
            if route is None:
                continue
            path = _described(segments)
            assert path is not None, f"{'/'.join(segments)} is answered and not described"
            assert _resource(path) == route[0], segments


@pytest.mark.parametrize("name", [*QUORUM_PARAMETERS, *BOOLEAN_PARAMETERS])
def test_every_parameter_that_is_read_is_described_where_objects_are(name: str) -> None:
    described = list(_references(PATHS["/buckets/{bucket}/keys/{key}"]))
    assert f"#/components/parameters/{name}" in described


def test_every_property_that_is_known_is_described() -> None:
    for schema in ("Properties", "PropertyChanges"):
        assert set(SCHEMAS[schema]["properties"]) - {"name"} == known_names()


# -- sound ---------------------------------------------------------------------------------------


def test_it_is_openapi() -> None:
    schemathesis.openapi.from_dict(dict(DOCUMENT)).validate()


def test_what_is_no_openapi_is_found() -> None:
    broken = json.loads(json.dumps(DOCUMENT))
    broken["paths"]["/ping"]["get"]["responses"]["200"].pop("description")
    with pytest.raises(Exception, match="description"):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_reference_leads_somewhere_and_every_component_is_referred_to() -> None:
    components = cast("Mapping[str, Json]", DOCUMENT["components"])
    there = {f"#/components/{kind}/{name}" for kind, held in components.items() for name in held}
    assert set(_references(DOCUMENT)) == there


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_names_what_its_path_leaves_open(
    path: str, method: str, operation: Json
) -> None:
    references = list(_references(operation.get("parameters", [])))
    named = [PARAMETERS[reference.rpartition("/")[2]] for reference in references]
    in_path = {parameter["name"] for parameter in named if parameter["in"] == "path"}
    assert in_path == {s[1:-1] for s in _segments(path) if _is_name(s)}
    assert len(set(references)) == len(references)


def _described_things(part: object, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        if isinstance(part.get("description"), str):
            yield where, part["description"]
        for name, value in part.items():
            yield from _described_things(value, f"{where}/{name}")
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from _described_things(value, f"{where}/{i}")


def test_descriptions_are_sentences() -> None:
    for where, said in _described_things(DOCUMENT):
        assert said.strip().endswith("."), f"{where}: {said}"
        assert said[0].isupper() or said[0] == "`", f"{where}: {said}"


# -- what is said of properties ------------------------------------------------------------------

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70),
    st.sampled_from([2**31, 2**31 + 1, 1.5, "x", "one", "quorum", "all", "backend", "TRUE", "no"]),
    st.lists(st.integers(), max_size=2),
)
_CHECKED = sorted(
    name for name in known_names() if coerced({name: object()})[1]
)  # what refuses an object refuses something


@given(name=st.sampled_from(_CHECKED), value=_VALUES)
def test_a_property_takes_what_its_schema_says_and_shows_what_its_schema_says(
    name: str, value: object
) -> None:
    taken, shown = (
        SCHEMAS[schema]["properties"][name] for schema in ("PropertyChanges", "Properties")
    )
    good, refused = coerced({name: value})
    assert validator_for(taken).is_valid(value) == (not refused)
    if not refused:
        assert validator_for(shown).is_valid(good[name])


def test_the_defaults_are_what_the_schema_says() -> None:
    shown = SCHEMAS["Properties"]["properties"]
    assert {name: said["default"] for name, said in shown.items() if "default" in said} == DEFAULTS


# -- served --------------------------------------------------------------------------------------


async def test_it_is_served() -> None:
    async with talking() as talk:
        told = await talk.get("/openapi.json")
        assert (told.status, told.headers["content-type"]) == (200, "application/json")
        served = json.loads(told.body)
        assert served["paths"] == PATHS
        head = await talk.ask("HEAD", "/openapi.json")
        assert head.headers["content-length"] == told.headers["content-length"]


async def test_it_is_there_before_the_node_has_joined() -> None:
    node = FakeNode()
    node.serving = False
    async with talking(node) as talk:
        assert (await talk.get("/openapi.json")).status == 200


async def test_it_is_refused_to_who_takes_no_json() -> None:
    async with talking() as talk:
        assert (await talk.get("/openapi.json", Accept="image/png")).status == 406
