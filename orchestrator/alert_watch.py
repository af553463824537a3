"""Alerts that never arrived: a break in a strategy's chain of positions, or a source that has fallen silent.

Looked for beside the work, in what is stored. A trouble that heals by itself, since the missing alert was only late or the
source sends again, closes its own incident.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from orchestrator.domain.alert_chains import Break, ChainKey, Link, breaks
from orchestrator.domain.moments import moment_string
from orchestrator.domain.rhythm import WEEK, WEEKS, silence
from orchestrator.domain.vocabulary import IncidentKind
from orchestrator.incidents import open_incident, resolve_incidents
from orchestrator.models import Incident
from orchestrator.queue import database_clock
from webhooks.alerts.positions import read_place, read_position
from webhooks.alerts.reading import SourceRules
from webhooks.canonical import sha256_hex
from webhooks.models import AlertSource

SETTLE_SECONDS = 20  # TradingView sends again after 5 s, three times: until then an alert may still come late
CHAINS_EVERY_SECONDS = 5.0
SILENCE_EVERY_SECONDS = 60.0
OPEN_FOR_SECONDS = 86_400  # older breaks are history, not news
ALERTS_PER_SOURCE = 1000
ARRIVALS_PER_SOURCE = 200
MOST_COUNTED = 100

# Both are served by signals_by_source and rejected_alerts_by_source.
_NEWEST = """
    SELECT alert.* FROM (
        (SELECT signal_id AS id, symbol, timeframe, timestamp AS at, received_at FROM signals
          WHERE source = %(source)s ORDER BY received_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT id, NULL, NULL, NULL, received_at FROM rejected_alerts
          WHERE source = %(source)s AND code = 'exit_alert' ORDER BY received_at DESC LIMIT %(limit)s)) AS alert
     ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""
_BODIES = """
    SELECT signal_id, raw_body FROM signals WHERE signal_id = ANY(%(ids)s) AND raw_body ~* %(pattern)s
    UNION ALL
    SELECT id, body FROM rejected_alerts WHERE id = ANY(%(ids)s) AND body ~* %(pattern)s
"""
_SAYS_BOTH_ENDS = "prev[a-z]*[ _.-]*market[ _.-]*position"
_ARRIVALS = """
    SELECT received_at FROM (
        (SELECT received_at FROM signals WHERE source = %(source)s ORDER BY received_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT received_at FROM rejected_alerts WHERE source = %(source)s ORDER BY received_at DESC LIMIT %(limit)s)
    ) AS alert ORDER BY received_at DESC LIMIT %(limit)s
"""
_COUNT_BETWEEN = """
    SELECT count(*) FROM (
        SELECT FROM signals WHERE source = %(source)s AND received_at > %(begin)s AND received_at <= %(end)s
        LIMIT %(limit)s) AS counted
"""
_FIRST = "SELECT min(received_at) FROM signals WHERE source = %(source)s"


class _Row(NamedTuple):
    """One stored alert; an exit alert, which became no signal, has no columns of its own for what it says."""

    id: UUID
    symbol: str | None
    timeframe: str | None
    at: datetime | None
    received_at: datetime


class AlertWatch:
    """One per worker; it remembers what it has read, so that a look at nothing new costs one statement per source."""

    def __init__(self) -> None:
        self._links: dict[str, dict[UUID, Link | None]] = {}
        self._seen: dict[str, set[UUID]] = {}
        self._due = {"chains": 0.0, "silence": 0.0}

    def watch_alerts(self) -> int:
        """Look for what never arrived, when it is time to; return how many incidents were opened."""
        found = 0
        if self._is_due("chains", CHAINS_EVERY_SECONDS):
            found += self.look_at_chains()
        if self._is_due("silence", SILENCE_EVERY_SECONDS):
            found += look_for_silence()
        return found

    def look_at_chains(self) -> int:
        """Open an incident for each new break in the chains of positions, and close those that healed."""
        now = database_clock()
        return sum(self._look_at(source, now=now) for source in AlertSource.objects.order_by("id"))

    def _look_at(self, source: AlertSource, *, now: datetime) -> int:
        rows = [_Row(*row) for row in _fetch(_NEWEST, {"source": source.name, "limit": ALERTS_PER_SOURCE})]
        settled = [row for row in rows if (now - row.received_at).total_seconds() >= SETTLE_SECONDS]
        seen = {row.id for row in settled}
        if self._seen.get(source.name) == seen:
            return 0
        links = self._read(source, settled)
        broken = breaks(links)
        opened = _open_new([one for one in broken if (now - one.later.received_at).total_seconds() < OPEN_FOR_SECONDS])
        _close_healed(source, {link.id for link in links}, {_subject(one) for one in broken})
        self._seen[source.name] = seen
        return opened

    def _read(self, source: AlertSource, rows: Sequence[_Row]) -> list[Link]:
        """Return the alerts that say both ends of their step; each body is read once."""
        links = self._links.get(source.name, {})
        unread = [row.id for row in rows if row.id not in links]
        bodies = dict(_fetch(_BODIES, {"ids": unread, "pattern": _SAYS_BOTH_ENDS})) if unread else {}
        rules = SourceRules(default_timeframe=source.default_timeframe, paths=source.paths)
        self._links[source.name] = {
            row.id: links[row.id] if row.id in links else _link(source.name, rules, row, bodies.get(row.id))
            for row in rows
        }
        return [link for link in self._links[source.name].values() if link is not None]

    def _is_due(self, what: str, every: float) -> bool:
        if time.monotonic() < self._due[what]:
            return False
        self._due[what] = time.monotonic() + every
        return True


def look_for_silence() -> int:
    """Open an incident for each enabled source that is silent beyond its rhythm, and close those of sources that send again."""
    now, opened = database_clock(), 0
    _close_heard_again()
    for source in AlertSource.objects.filter(enabled=True).order_by("id"):
        arrivals = [at for (at,) in _fetch(_ARRIVALS, {"source": source.name, "limit": ARRIVALS_PER_SOURCE})][::-1]
        found = silence(arrivals, in_earlier_weeks=_earlier_weeks(source.name, arrivals, now=now), now=now)
        if found is None or _was_told(source.name, since=found.since):
            continue
        open_incident(
            IncidentKind.SILENT_SOURCE,
            subject=source.name,
            detail={
                "what": f"The source {source.name} has sent nothing since {moment_string(found.since)}. {found.why}",
                "silent_since": moment_string(found.since),
            },
        )
        opened += 1
    return opened


def _link(source: str, rules: SourceRules, row: _Row, body: str | None) -> Link | None:
    report = None if body is None else read_position(body)
    if body is None or report is None:
        return None
    symbol, timeframe, at = row.symbol, row.timeframe, row.at
    if symbol is None:
        place = read_place(body, rules=rules, received_at=row.received_at)
        if place is None:
            return None
        symbol, timeframe, at = place.symbol, place.timeframe, place.at
    key = ChainKey(source, symbol, timeframe or "", report.strategy)
    return Link(row.id, key, at or row.received_at, row.received_at, report, sha256_hex(body))


def _open_new(broken: Sequence[Break]) -> int:
    known = set(
        Incident.objects.filter(
            kind=IncidentKind.SIGNAL_GAP.value, subject__in=[_subject(one) for one in broken]
        ).values_list("subject", flat=True)
    )
    new = [one for one in broken if _subject(one) not in known]
    for one in new:
        earlier, later, key = one.earlier, one.later, one.later.key
        open_incident(
            IncidentKind.SIGNAL_GAP,
            subject=_subject(one),
            detail={
                "what": f"An alert between these two never arrived: {key.symbol} {key.timeframe} of {key.source} was "
                f"{_standing(earlier.report.now, earlier.report.size_now)} after {moment_string(earlier.at)} and "
                f"{_standing(later.report.before, later.report.size_before)} before {moment_string(later.at)}.",
                "source": key.source,
                "strategy": key.strategy,
                "earlier": str(earlier.id),
                "later": str(later.id),
            },
        )
    return len(new)


def _close_healed(source: AlertSource, read: set[UUID], still_broken: set[str]) -> None:
    """Close the incidents whose two alerts are neighbours no more, since the one between them has come."""
    opened = Incident.objects.unresolved().filter(kind=IncidentKind.SIGNAL_GAP.value, detail__source=source.name)
    for subject in opened.values_list("subject", flat=True):
        ids = {UUID(part) for part in subject.split(":")}
        if ids <= read and subject not in still_broken:
            resolve_incidents(
                IncidentKind.SIGNAL_GAP, subject=subject, by="worker", resolution="The alert between them arrived late."
            )


def _close_heard_again() -> None:
    for incident in Incident.objects.unresolved().filter(kind=IncidentKind.SILENT_SOURCE.value):
        newest = _fetch(_ARRIVALS, {"source": incident.subject, "limit": 1})
        if newest and newest[0][0] > incident.opened_at:
            word = f"It sends again since {moment_string(newest[0][0])}."
        elif not AlertSource.objects.filter(name=incident.subject, enabled=True).exists():
            word = "The source is switched off."
        else:
            continue
        resolve_incidents(IncidentKind.SILENT_SOURCE, subject=incident.subject, by="worker", resolution=word)


def _was_told(source: str, *, since: datetime) -> bool:
    """Tell whether this silence was reported already, whatever became of the report."""
    told = Incident.objects.filter(kind=IncidentKind.SILENT_SOURCE.value, subject=source)
    return told.filter(detail__silent_since=moment_string(since)).exists()


def _earlier_weeks(source: str, arrivals: Sequence[datetime], *, now: datetime) -> list[int]:
    """Return how many signals came in the hours of the present silence in each of the earlier weeks that it has known."""
    if not arrivals or now - arrivals[-1] >= WEEK:
        return []
    [(first,)] = _fetch(_FIRST, {"source": source})
    counts = []
    for week in WEEKS:
        ago = timedelta(weeks=week)
        if first is None or first > arrivals[-1] - ago:
            break
        values = {"source": source, "begin": arrivals[-1] - ago, "end": now - ago, "limit": MOST_COUNTED}
        counts.append(int(_fetch(_COUNT_BETWEEN, values)[0][0]))
    return counts


def _subject(one: Break) -> str:
    return f"{one.earlier.id}:{one.later.id}"


def _standing(position: Any, size: Any) -> str:
    return str(position.value) if size is None else f"{position.value} {size}"


def _fetch(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
