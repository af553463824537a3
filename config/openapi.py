"""The part of the API's description that is not made of REST views: the webhook, the engines' events, the probes."""

from typing import Any

PROBLEM = {
    "type": "object",
    "description": "RFC 9457: what is wrong, where, what was found and what is accepted.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "found": {"type": "string", "nullable": True},
                    "accepted": {"type": "string"},
                },
            },
        },
    },
}


def _said(description: str, *, of: str = "application/json", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "content": {of: {"schema": schema or {"type": "object"}}}}


def _wrong(description: str) -> dict[str, Any]:
    return _said(description, of="application/problem+json", schema={"$ref": "#/components/schemas/Problem"})


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}


PATHS: dict[str, Any] = {
    "/webhooks/tradingview/{token}/": {
        "post": {
            "operationId": "webhooks_tradingview",
            "tags": ["webhooks"],
            "summary": "One alert becomes one signal",
            "description": "JSON or plain text, judged by its content and not by its Content-Type.",
            "security": [{}],
            "parameters": [_in_path("token", {"type": "string"})],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"type": "object"},
                        "example": {
                            "ticker": "SPY",
                            "action": "buy",
                            "interval": "5",
                            "time": "2026-03-02T14:30:00Z",
                            "close": 589.12,
                        },
                    },
                    "text/plain": {"schema": {"type": "string"}},
                },
            },
            "responses": {
                "200": _said(
                    "Stored, seen before, kept on disk while the database is away, or an exit alert that opens nothing."
                ),
                "400": _wrong("Not a readable alert; every field is named."),
                "404": _wrong("Unknown token."),
                "413": _wrong("Too large."),
                "429": _wrong("More alerts a minute than this source may send."),
                "503": _wrong("The database cannot take it at the moment; send it again."),
            },
        }
    },
    "/api/v1/engines/{engine}/events/": {
        "post": {
            "operationId": "engine_events",
            "tags": ["engines"],
            "summary": "An engine reports a fact: an answer, a fill, a refusal, an exit",
            "description": "Signed after the Standard Webhooks specification; webhook-id is the message id.",
            "security": [{}],
            "parameters": [
                _in_path("engine", {"type": "string", "enum": ["A", "B"]}),
                *(_in_header(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["type", "data"],
                            "properties": {
                                "type": {
                                    "type": "string",
                                    "enum": [
                                        "recommendation.completed",
                                        "execution.filled",
                                        "execution.rejected",
                                        "trade.exited",
                                    ],
                                },
                                "data": {"type": "object"},
                            },
                        }
                    }
                },
            },
            "responses": {
                "200": _said("Seen before."),
                "202": _said("Stored."),
                "400": _wrong("Unreadable."),
                "401": _wrong("The signature was not accepted."),
                "404": _wrong("It refers to nothing known; stored all the same, with an incident."),
                "413": _wrong("Too large."),
            },
        }
    },
    "/healthz": {
        "get": {
            "operationId": "healthz",
            "tags": ["monitoring"],
            "summary": "Is the process alive?",
            "security": [{}],
            "responses": {"200": _said("It is.")},
        }
    },
    "/readyz": {
        "get": {
            "operationId": "readyz",
            "tags": ["monitoring"],
            "summary": "Are database and migrations ready? With workers, engines and backlog",
            "security": [{}],
            "responses": {"200": _said("Ready."), "503": _said("Not ready; the body says what is missing.")},
        }
    },
    "/metrics": {
        "get": {
            "operationId": "metrics",
            "tags": ["monitoring"],
            "summary": "Measures in Prometheus' text format",
            "security": [{}],
            "responses": {"200": _said("Read from the database.", of="text/plain", schema={"type": "string"})},
        }
    },
}


def describe_plain_views(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the views that are no REST views, and the problem document that every error is."""
    result["paths"] = dict(sorted({**result["paths"], **PATHS}.items()))
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    operations = [operation for methods in result["paths"].values() for operation in methods.values()]
    for operation in operations:
        if operation.get("security") == [{}]:
            continue
        responses = operation["responses"]
        responses.setdefault("400", _wrong("The request makes no sense; errors names each fault."))
        responses.setdefault("401", _wrong("Neither logged in nor a valid token."))
        if any(parameter["in"] == "path" for parameter in operation.get("parameters", [])):
            responses.setdefault("404", _wrong("There is no such row."))
    return result
