"""A strategy's alerts form a chain: each begins where the one before ended. Where it does not, one never arrived."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from webhooks.alerts.positions import PositionReport


@dataclass(frozen=True, slots=True)
class ChainKey:
    """Whose chain it is: alerts of one strategy on one chart, as far as they tell."""

    source: str
    symbol: str
    timeframe: str
    strategy: str


@dataclass(frozen=True, slots=True)
class Link:
    """One alert of a chain. ``at`` is its own time, else that of its receipt; ``body_hash`` tells a re-delivery."""

    id: UUID
    key: ChainKey
    at: datetime
    received_at: datetime
    report: PositionReport
    body_hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """Two neighbours that do not fit."""

    earlier: Link
    later: Link


def breaks(links: Iterable[Link]) -> list[Break]:
    """Return where chains are broken, in the order of time.

    Alerts of one bar carry one time and may arrive in either order: among those, the one that fits comes first. A
    body that came twice in a row is a re-delivery.
    """
    chains: dict[ChainKey, list[Link]] = defaultdict(list)
    for link in sorted(links, key=lambda link: (link.at, link.received_at, link.id)):
        chains[link.key].append(link)
    found = [one for chain in chains.values() for one in _breaks_of(chain)]
    return sorted(found, key=lambda one: (one.later.at, one.later.received_at, one.later.id))


def fits(earlier: PositionReport, later: PositionReport) -> bool:
    """Tell whether ``later`` begins where ``earlier`` ended; sizes count where both alerts have them."""
    if earlier.now is not later.before:
        return False
    return None in (earlier.size_now, later.size_before) or earlier.size_now == later.size_before


def _breaks_of(chain: Sequence[Link]) -> list[Break]:
    waiting, last, found = list(chain), None, []
    while waiting:
        same_time = [link for link in waiting if link.at == waiting[0].at]
        fitting = (link for link in same_time if last is None or fits(last.report, link.report))
        link = next(fitting, same_time[0])
        waiting.remove(link)
        if last is not None and link.body_hash == last.body_hash:
            continue
        if last is not None and not fits(last.report, link.report):
            found.append(Break(last, link))
        last = link
    return found
