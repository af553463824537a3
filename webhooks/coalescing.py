"""Many alerts at once are stored by one statement and one commit; a single one waits for nobody.

Whoever comes while fewer than ``LEADERS`` statements are under way leads: it takes along all that wait and stores them with its
own, in its own thread. The others sleep until that is done, or until it is their turn to lead.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence

from webhooks.lines import OutOfReach, lent_line
from webhooks.storing import Check, NewSignal, StoredSignal, store_signals

LEADERS = 1
MOST_AT_ONCE = 64


class _Place:
    """One alert in the queue, with the sleep of the thread that brought it."""

    __slots__ = ("check", "error", "is_done", "leads", "outcome", "row", "sleep")

    def __init__(self, row: NewSignal, check: Check) -> None:
        self.row, self.check = row, check
        self.outcome: StoredSignal | None = None
        self.error: Exception | None = None
        self.is_done = self.leads = False
        self.sleep = threading.Lock()
        self.sleep.acquire()


class Coalescer:
    """The queue of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Place] = deque()
        self._leaders = 0

    def store(self, row: NewSignal, check: Check, *, until: float) -> StoredSignal | None:
        """Store an alert that carries its time, together with those that others bring; None: its source has changed.

        :param until: the moment of ``time.monotonic()`` at which it gives up; the alert may be stored all the same then.
        :raises OutOfReach: when the database has not answered by then.
        :raises psycopg.Error: when it has refused, this alert or one that was taken along.
        """
        place = _Place(row, check)
        with self._lock:
            if self._leaders < LEADERS:
                self._leaders += 1
                place.leads = True
            else:
                self._waiting.append(place)
        if not place.leads:
            self._sleep(place, until)
        if not place.is_done:
            self._lead(place, until)
        if place.error:
            raise place.error
        return place.outcome

    def _sleep(self, place: _Place, until: float) -> None:
        if place.sleep.acquire(timeout=max(0.0, until - time.monotonic())):
            return
        with self._lock:
            if place.is_done:
                return
            if place.leads:  # it was woken in this very moment
                self._pass_on()
            elif place in self._waiting:
                self._waiting.remove(place)
        raise OutOfReach("The database has not answered in time.")

    def _lead(self, place: _Place, until: float) -> None:
        with self._lock:
            others = min(MOST_AT_ONCE - 1, len(self._waiting))
            batch = [place, *(self._waiting.popleft() for _ in range(others))]
        try:
            outcomes: Sequence[StoredSignal | None]
            with lent_line(until=until) as line:
                outcomes = store_signals(line.own_cursor(), [one.row for one in batch], [one.check for one in batch])
            for one, outcome in zip(batch, outcomes, strict=True):
                one.outcome = outcome
        except Exception as error:  # noqa: BLE001 - each of them raises it in its own thread
            for one in batch:
                one.error = error
        with self._lock:
            for one in batch:
                one.is_done = True
                if one is not place:
                    one.sleep.release()
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the next one lead. Call this with the lock held."""
        if self._waiting:
            following = self._waiting.popleft()
            following.leads = True
            following.sleep.release()
        else:
            self._leaders -= 1


coalescer = Coalescer()
