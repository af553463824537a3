"""What an engine can be asked, and what may come back: the wire contract without a wire."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol
from uuid import UUID

# asked at the last moment before a request leaves; a reason that it returns means that nothing is sent
Unless = Callable[[], str]


def nothing_against() -> str:
    """Let every request leave."""
    return ""


class Operation(Enum):
    """Every question of the contract, with its method and its path."""

    HEALTH = ("GET", "/health")
    RECOMMEND = ("POST", "/recommendations")
    RECOMMENDATION = ("GET", "/recommendations/{key}")
    EXECUTE = ("POST", "/executions")
    EXECUTION = ("GET", "/executions/{key}")
    OPEN_SHADOW_TRADE = ("POST", "/shadow-trades")
    CLOSE_SHADOW_TRADE = ("POST", "/shadow-trades/{key}/exit")

    @property
    def method(self) -> str:
        return self.value[0]

    def path(self, key: UUID | None) -> str:
        template: str = self.value[1]
        return template.format(key=key)


@dataclass(frozen=True, slots=True)
class Request:
    """``key`` is the idempotency key: experiment_id, permit_id or trade_id, the same for ever."""

    operation: Operation
    key: UUID | None = None
    body: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine answered: an HTTP status and the body as received."""

    status: int
    body: bytes


class NotSent(Exception):
    """The connection was refused: the engine cannot have seen the request."""


class NoAnswer(Exception):
    """The request left, or may have left, and no whole answer came: nothing is known about its effect."""


class UnusableAnswer(NoAnswer):
    """An answer came that nobody could use, however often the question is repeated: it is too long, say."""


class Engine(Protocol):
    """One engine, however it is reached."""

    async def send(self, request: Request, *, timeout: float, unless: Unless = nothing_against) -> Reply:
        """Send one request once, never twice, and return the whole answer within ``timeout`` seconds.

        :param unless: asked when everything is ready, right before the first byte of the request is written.
        :raises NotSent: when nothing left.
        :raises NoAnswer: when it is not known whether the engine saw it.
        """

    async def close(self) -> None:
        """Give back what is held open."""
