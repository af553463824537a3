"""Posting alerts to the webhook, as TradingView does it: one body a request, at a steady pace."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import httpx2

REQUEST_SECONDS = 10.0
# TradingView re-sends on 5xx; a service that has just started, or lost its database for a moment, gets this long.
RETRY_SECONDS = 60.0
# One that has never answered is more likely not there at all.
FIRST_ANSWER_SECONDS = 5.0
RETRY_PAUSE_SECONDS = 1.0
LONGEST_DETAIL = 1000
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})


class WebhookUnreachable(Exception):
    """The webhook does not answer, or not like our webhook; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the webhook said to one alert: ``result`` is stored, duplicate, spooled, exit_alert or refused."""

    number: int
    result: str
    status: int
    detail: str


@dataclass(slots=True)
class Tally:
    """How many alerts were sent, by result."""

    results: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.results.total()


def send_alerts(
    bodies: Iterable[bytes],
    *,
    url: str,
    rate: float | None,
    on_answer: Callable[[Answer], None] = lambda answer: None,
    stop: threading.Event | None = None,
) -> Tally:
    """Post each of ``bodies`` to ``url`` and return how many were stored, duplicate, spooled, exit alerts or refused.

    ``rate`` is alerts a second, None as fast as the answers come. A refused alert (400) is counted and the next one is
    sent. Setting ``stop`` ends the sending after the alert in hand.

    :raises WebhookUnreachable: when nobody answers for a while, or the token is unknown.
    """
    stop = stop or threading.Event()
    tally = Tally()
    started_at = time.monotonic()
    with httpx2.Client(timeout=REQUEST_SECONDS, headers={"Content-Type": "application/json"}) as client:
        for number, body in enumerate(bodies, start=1):
            if rate and stop.wait(max(0.0, started_at + (number - 1) / rate - time.monotonic())):
                break
            patience = RETRY_SECONDS if tally.total else FIRST_ANSWER_SECONDS
            response = _post(client, url, body, stop, patience=patience)
            if response is None:
                break
            answer = _read(number, response)
            tally.results[answer.result] += 1
            on_answer(answer)
    return tally


def _post(
    client: httpx2.Client, url: str, body: bytes, stop: threading.Event, *, patience: float
) -> httpx2.Response | None:
    """Return the answer, asked for again for ``patience`` seconds while the service is not there.

    None when told to stop meanwhile.
    """
    give_up_at = time.monotonic() + patience
    while not stop.is_set():
        try:
            response = client.post(url, content=body)
            found = f"answered {response.status_code}"
            if response.status_code not in RETRIED_STATUSES:
                return response
        except httpx2.InvalidURL as error:
            raise WebhookUnreachable(f"{_without_token(url)} is not an address: {error}.") from error
        except httpx2.HTTPError as error:
            found = f"cannot be reached ({error or type(error).__name__})"
        if time.monotonic() > give_up_at:
            raise WebhookUnreachable(f"{_without_token(url)} {found} for {patience:.0f} seconds.")
        stop.wait(RETRY_PAUSE_SECONDS)
    return None


def _read(number: int, response: httpx2.Response) -> Answer:
    status = response.status_code
    try:
        told = json.loads(response.content)
    except ValueError:
        told = None
    if status == httpx2.codes.OK and isinstance(told, dict) and "signal_id" in told:
        if told["signal_id"] is None:
            return Answer(number, str(told.get("code", "exit_alert")), status, "")
        return Answer(number, "duplicate" if told.get("duplicate") else "stored", status, str(told["signal_id"]))
    if status in {httpx2.codes.BAD_REQUEST, httpx2.codes.CONTENT_TOO_LARGE}:
        detail = told.get("detail") if isinstance(told, dict) else None
        return Answer(number, "refused", status, str(detail or response.text)[:LONGEST_DETAIL])
    address = _without_token(str(response.request.url))
    if status == httpx2.codes.NOT_FOUND:
        raise WebhookUnreachable(f"{address} does not know this token. Accepted: the address of an enabled source.")
    raise WebhookUnreachable(f"{address} answered {status}, which is not an answer of this service's webhook.")


def _without_token(url: str) -> str:
    """Return the address without its last part, which is a secret."""
    return url.rstrip("/").rsplit("/", 1)[0] + "/…"
