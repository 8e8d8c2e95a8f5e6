"""The check of JSON against the part of JSON Schema that openapi.json uses, and openapi.json itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from geventpop3.testing.double.control.core import ROUTES, document
from geventpop3.testing.double.control.schema import SchemaBroken, Schemas

NAMED: dict[str, Any] = {"components": {"schemas": {"Name": {"type": "string", "minLength": 1}}}}
NUMBERS = {"type": ["number", "null"], "minimum": 0, "maximum": 10}
PAIR = {
    "type": "object",
    "properties": {"name": {"$ref": "#/components/schemas/Name"}, "count": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
EITHER = {"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1, "maxProperties": 1}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, {"type": "integer"}),
        (1.5, NUMBERS),
        (None, NUMBERS),
        (10, NUMBERS),
        (True, {"type": "boolean"}),
        ("x", {"enum": ["x", "y"]}),
        ({"name": "x", "count": 2}, PAIR),
        ({"other": 1}, {"type": "object"}),
        ([1, 2], {"type": "array", "items": {"type": "integer"}, "minItems": 2}),
        ({"a": 1}, EITHER),
    ],
)
def test_what_fits(value: object, schema: dict[str, Any]) -> None:
    assert list(Schemas(NAMED).complaints(value, schema)) == []


@pytest.mark.parametrize(
    ("value", "schema", "complaint"),
    [
        ("1", {"type": "integer"}, "the body is string, not integer"),
        (1.5, {"type": "integer"}, "the body is number, not integer"),
        (True, {"type": "integer"}, "the body is boolean, not integer"),
        (True, NUMBERS, "the body is boolean, not number or null"),
        (None, {"type": "string"}, "the body is null, not string"),
        (-1, NUMBERS, "the body is -1, less than 0"),
        (11, NUMBERS, "the body is 11, more than 10"),
        ("z", {"enum": ["x", "y"]}, "the body is 'z', not one of 'x', 'y'"),
        ({"name": ""}, PAIR, "'name' is too short"),
        ({"count": 1}, PAIR, "the body has no 'name'"),
        ({"name": "x", "cuont": 1}, PAIR, "the body has 'cuont': did you mean 'count'?"),
        ({"name": "x", "zzz": 1}, PAIR, "the body has 'zzz': it may have 'name', 'count'"),
        ({"name": 1}, PAIR, "'name' is integer, not string"),
        ([], {"type": "array", "minItems": 1}, "the body has 0 items, fewer than 1"),
        (["a"], {"type": "array", "items": {"type": "null"}}, "the body[0] is string, not null"),
        ({}, EITHER, "the body has 0 of 'a', 'b'"),
        ({"a": 1, "b": 1}, EITHER, "the body has 2 of 'a', 'b'"),
    ],
)
def test_what_does_not_fit(value: object, schema: dict[str, Any], complaint: str) -> None:
    assert list(Schemas(NAMED).complaints(value, schema)) == [complaint]


def test_a_keyword_that_is_not_checked_is_an_error() -> None:
    with pytest.raises(SchemaBroken, match="pattern"):
        list(Schemas({}).complaints("x", {"pattern": "y"}))


def test_a_reference_to_nothing_is_an_error() -> None:
    with pytest.raises(SchemaBroken, match="#/components/nothing"):
        list(Schemas({"components": {}}).complaints("x", {"$ref": "#/components/nothing"}))


# openapi.json


def schemas_in(node: object) -> Iterator[dict[str, Any]]:
    """All schemas that are written out, wherever they are."""
    if isinstance(node, dict):
        if isinstance(node.get("schema"), dict):
            yield node["schema"]
        for key, value in node.items():
            if key == "schemas":
                yield from value.values()
            yield from schemas_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from schemas_in(item)


def test_it_has_the_routes_and_no_others() -> None:
    described = {(method.upper(), path) for path, item in document()["paths"].items() for method in item}
    assert described == {(route.method, route.path) for route in ROUTES}


def test_every_reference_leads_to_something() -> None:
    text = json.dumps(document())
    schemas = Schemas(document())
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert len(references) > 20
    for reference in references:
        assert schemas.resolved({"$ref": reference})


def test_every_schema_uses_known_keywords_alone() -> None:
    schemas = Schemas(document())
    found = list(schemas_in(document()))
    assert len(found) > 30
    for schema in found:
        for value in (None, 1, "x", [], {}):
            list(schemas.complaints(value, schema))


def test_each_operation_has_its_own_name_and_what_every_call_may_answer() -> None:
    operations = [operation for item in document()["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ROUTES)
    for operation in operations:
        assert operation["responses"].keys() >= {"400", "401", "403", "421", "500"}
        assert operation["summary"]


def test_parameters_in_a_path_are_declared() -> None:
    schemas = Schemas(document())
    for route in ROUTES:
        operation = document()["paths"][route.path][route.method.lower()]
        declared = {
            each["name"] for each in map(schemas.resolved, operation.get("parameters", [])) if each["in"] == "path"
        }
        assert declared == {part.strip("{}") for part in route.path.split("/") if part.startswith("{")}
