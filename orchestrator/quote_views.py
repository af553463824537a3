"""``POST /api/v1/quotes/``: the data service pushes what the market is; nothing is ever fetched (requirement 7.1)."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import TokenAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.problems import Fault, Refused, shown
from orchestrator.domain.moments import moment_string
from orchestrator.domain.strict_json import UnreadableJson, read_json
from orchestrator.quotes import Quote, StoredQuotes, UnreadableQuotes, read_quotes, store_quotes

LARGEST_BODY = 2 * 1024 * 1024
MOST_FAULTS = 100


class StrictJsonParser(BaseParser):
    """Reads the body as JSON whatever its Content-Type says, and refuses what is not one unambiguous value."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the value in the body, numbers exact.

        :raises Refused: when the body is too large or not JSON.
        """
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise Refused(
                [Fault("body", f"more than {LARGEST_BODY} bytes", f"at most {LARGEST_BODY} bytes")], status=413
            )
        try:
            return read_json(body)
        except UnreadableJson as error:
            raise Refused([Fault("body", str(error), "one JSON object, or a list of them")]) from None


class QuotesView(APIView):
    """Push one quote or a list of up to 1,000.

    201: something new was stored. 200: all of it was known. 409: nothing was new, and something contradicts what was
    stored before, which stands. Contradictions beside new quotes are counted in the answer. 400, 413: nothing was stored.
    """

    authentication_classes = (TokenAuthentication,)  # a session is for looking: a viewer pushes nothing
    parser_classes = (StrictJsonParser,)

    @extend_schema(request=OpenApiTypes.OBJECT, responses={(201, "application/json"): OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        try:
            quotes = read_quotes(request.data, at=datetime.now(UTC))
        except UnreadableQuotes as error:
            faults = [
                Fault(problem.field, None if problem.found is None else shown(problem.found), problem.accepted)
                for problem in error.problems[:MOST_FAULTS]
            ]
            raise Refused(faults) from None
        found = store_quotes(quotes)
        if found.conflicts and not found.stored:
            raise Refused([_conflict(quote) for quote in found.conflicts[:MOST_FAULTS]], status=409)
        return Response(_counts(found), status=201 if found.stored else 200)


def _conflict(quote: Quote) -> Fault:
    return Fault("quoted_at", f"{quote.symbol} {moment_string(quote.quoted_at)}", "the content that was stored first")


def _counts(found: StoredQuotes) -> dict[str, Any]:
    return {
        "stored": found.stored,
        "duplicates": found.duplicates,
        "conflicts": [
            {"symbol": quote.symbol, "quoted_at": moment_string(quote.quoted_at)} for quote in found.conflicts
        ],
    }
