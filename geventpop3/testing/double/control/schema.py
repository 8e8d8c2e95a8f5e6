"""Checks of JSON against the part of JSON Schema that ``openapi.json`` uses.

A keyword that is not known here is an error of the file, so that nothing in it is silently ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_REMARKS: Final = frozenset({"description", "default", "examples", "title", "format", "contentEncoding"})
_KEYWORDS: Final = _REMARKS | {
    *("$ref", "type", "properties", "required", "additionalProperties", "items", "enum"),
    *("minimum", "maximum", "minLength", "minItems", "minProperties", "maxProperties"),
}


class SchemaBroken(LookupError):
    """A schema with a keyword or a reference that this module does not know."""


class Schemas:
    """The schemas of an OpenAPI document, for references such as ``#/components/schemas/Fault``."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def complaints(self, value: object, schema: Schema, where: str = "the body") -> Iterator[str]:
        """Yield one text for each way in which *value* breaks *schema*. Raises SchemaBroken."""
        schema = self.resolved(schema)
        if unknown := schema.keys() - _KEYWORDS:
            raise SchemaBroken(f"keywords that are not checked: {', '.join(sorted(unknown))}")
        kinds = _kinds(schema)
        if kinds and not any(_is_of(value, kind) for kind in kinds):
            yield f"{where} is {_name_of(value)}, not {' or '.join(kinds)}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where} is {value!r}, not one of {', '.join(map(repr, schema['enum']))}"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value < schema.get("minimum", value):
                yield f"{where} is {value}, less than {schema['minimum']}"
            if value > schema.get("maximum", value):
                yield f"{where} is {value}, more than {schema['maximum']}"
        if isinstance(value, str) and len(value) < schema.get("minLength", 0):
            yield f"{where} is too short"
        if isinstance(value, list):
            if len(value) < schema.get("minItems", 0):
                yield f"{where} has {len(value)} items, fewer than {schema['minItems']}"
            for index, item in enumerate(value):
                yield from self.complaints(item, schema.get("items", {}), f"{where}[{index}]")
        if isinstance(value, dict):
            yield from self._of_object(value, schema, where)

    def _of_object(self, value: Mapping[str, Any], schema: Schema, where: str) -> Iterator[str]:
        known = schema.get("properties", {})
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{where} has no {key!r}"
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
            yield f"{where} has {len(value)} of {', '.join(map(repr, known))}"
        for key, item in value.items():
            if key in known:
                yield from self.complaints(item, known[key], repr(key))
            elif schema.get("additionalProperties") is False:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(map(repr, known))}"
                yield f"{where} has {key!r}: {hint}"

    def resolved(self, schema: Schema) -> Schema:
        """Return the schema that a reference leads to. Raises SchemaBroken."""
        while "$ref" in schema:
            at: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                if part not in at:
                    raise SchemaBroken(f"there is no {schema['$ref']}")
                at = at[part]
            schema = at
        return schema


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _name_of(value: object) -> str:
    return next(kind for kind in ("boolean", "integer", *_TYPES) if _is_of(value, kind))
