"""The sample alerts: which of them are not in the database yet, and posting those to the real webhook."""

import threading
from pathlib import Path

from config.quickstart.accounts import SOURCE_NAME
from webhooks.models import RejectedAlert, Signal
from webhooks.sending import Answer, WebhookUnreachable, send_alerts

ALERTS_PER_SECOND = 5.0


def read_samples(path: Path) -> list[bytes]:
    """Return the bodies in the file of sample alerts, one a line."""
    return [line.strip() for line in path.read_bytes().splitlines() if line.strip()]


def missing_samples(samples: list[bytes]) -> list[bytes]:
    """Return those of ``samples`` that the source `default` has not received yet, in their order."""
    texts = [body.decode() for body in samples]
    there = set(Signal.objects.filter(source=SOURCE_NAME, raw_body__in=texts).values_list("raw_body", flat=True))
    there.update(RejectedAlert.objects.filter(source=SOURCE_NAME, body__in=texts).values_list("body", flat=True))
    return [body for body, text in zip(samples, texts, strict=True) if text not in there]


class SamplePosting(threading.Thread):
    """Posts alerts in the background at a pace that can be watched; ``sent`` and ``trouble`` tell how it goes."""

    def __init__(self, bodies: list[bytes], *, url: str) -> None:
        super().__init__(name="sample alerts", daemon=True)
        self.bodies = bodies
        self.url = url
        self.sent = 0
        self.refused = 0
        self.trouble = ""
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            send_alerts(
                self.bodies,
                url=self.url,
                rate=ALERTS_PER_SECOND,
                on_answer=self._count,
                stop=self._stop_asked,
            )
        except WebhookUnreachable as error:
            self.trouble = str(error)

    def stop(self) -> None:
        """End after the alert in hand."""
        self._stop_asked.set()
        if self.is_alive():
            self.join(timeout=15)

    def _count(self, answer: Answer) -> None:
        self.sent += 1
        self.refused += answer.result == "refused"
