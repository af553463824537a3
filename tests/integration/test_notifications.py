"""Telling operators of incidents: once per channel, over real mail and HTTP receivers, without holding anything up."""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings
from environ import Env

from config.telling import check_encryption, read_emails, read_webhook_url
from orchestrator.domain.vocabulary import IncidentKind
from orchestrator.incidents import open_incident
from orchestrator.models import Incident, IncidentNotification
from orchestrator.notifications import MOST_ATTEMPTS, Notifier, send_due
from orchestrator.queue import in_seconds
from tests.conftest import LogLines
from tests.factories import make_experiment

pytestmark = pytest.mark.django_db

SMTP_BACKEND = "django.core.mail.backends.smtp.EmailBackend"


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as a client needs to deliver; ``refuses`` answers that the mailbox is not there."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refuses = False
        super().__init__(("127.0.0.1", 0), _MailSession)


class _MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline():
            verb = line.split()[0].upper()
            if verb == b"DATA":
                self._say("354 go on")
                text = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    text += part
                self.server.mails.append(message_from_bytes(text, policy=default))
                self._say("250 taken")
            elif verb == b"QUIT":
                self._say("221 bye")
                return
            elif verb == b"RCPT" and self.server.refuses:
                self._say("550 no such mailbox, secret-in-an-answer")
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


class Receiver(ThreadingHTTPServer):
    """Takes posts; ``status`` is what it answers, ``wait`` the seconds until then."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status, self.wait = 200, 0.0
        super().__init__(("127.0.0.1", 0), _Post)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/secret-in-the-address"


class _Post(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.posts.append(({key.lower(): value for key, value in self.headers.items()}, json.loads(body)))
        time.sleep(self.server.wait)
        self.send_response(self.server.status)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Say nothing."""


@contextmanager
def running(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as server, override_settings(INCIDENT_WEBHOOK_URL=server.url):
        yield server


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with (
        running(MailServer()) as server,
        override_settings(
            EMAIL_BACKEND=SMTP_BACKEND,
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=server.server_address[1],
            INCIDENT_EMAILS=["desk@example.com", "night@example.com"],
            DEFAULT_FROM_EMAIL="orchestrator@example.com",
        ),
    ):
        yield server


def trouble(subject: str = "A:ord-1") -> Incident:
    experiment = make_experiment()
    open_incident(
        IncidentKind.UNAUTHORISED_EXECUTION,
        subject=subject,
        experiment_id=experiment.pk,
        detail={"what": "Engine A reports a real trade.", "body": "secret-in-a-body"},
    )
    return Incident.objects.get(subject=subject)


def be_due() -> None:
    IncidentNotification.objects.update(next_attempt_at=in_seconds(-1))


def test_a_new_incident_is_mailed_to_every_operator_once(mail_server: MailServer) -> None:
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://*.example.com", "https://desk.example.com"]):
        incident = trouble()
        assert send_due() == 1
        assert send_due() == 0
    [mail] = mail_server.mails
    assert mail["To"] == "desk@example.com, night@example.com"
    assert mail["From"] == "orchestrator@example.com"
    assert mail["Subject"] == "[PAPER] CRITICAL: UNAUTHORISED_EXECUTION"
    text = str(mail.get_payload())
    assert "Engine A reports a real trade." in text
    assert f"https://desk.example.com/admin/orchestrator/incident/{incident.pk}/change/" in text
    assert "secret" not in mail.as_string()


def test_a_new_incident_is_posted_once(receiver: Receiver) -> None:
    incident = trouble()
    assert send_due() == 1
    assert send_due() == 0
    [(headers, body)] = receiver.posts
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == body["id"] == str(IncidentNotification.objects.get().pk)
    assert body["type"] == "incident.opened"
    assert body["incident"] == {
        "incident_id": str(incident.pk),
        "kind": "UNAUTHORISED_EXECUTION",
        "severity": "CRITICAL",
        "app_mode": "PAPER",
        "what": "Engine A reports a real trade.",
        "what_to_do": body["incident"]["what_to_do"],
        "opened_at": body["incident"]["opened_at"],
        "experiment_id": str(incident.experiment_id),
        "permit_id": None,
        "page": f"/admin/orchestrator/incident/{incident.pk}/change/",
    }


def test_one_trouble_seen_often_is_told_once_and_again_when_it_comes_back(receiver: Receiver) -> None:
    experiment = make_experiment()

    def see() -> None:
        open_incident(IncidentKind.POISON_WORK, subject="s", experiment_id=experiment.pk, detail={"what": "x"})

    for _ in range(3):
        see()
        send_due()
    assert len(receiver.posts) == 1
    Incident.objects.update(resolved_at=in_seconds(0), resolved_by="ann")
    see()
    send_due()
    assert len(receiver.posts) == 2


def test_nothing_is_noted_or_sent_when_nobody_wants_to_be_told() -> None:
    trouble()
    assert not IncidentNotification.objects.exists()
    assert send_due() == 0
    assert Notifier().send_notifications() == 0


def test_an_incident_that_was_not_committed_is_not_told(receiver: Receiver) -> None:
    with transaction.atomic():
        trouble()
        transaction.set_rollback(True)
    assert send_due() == 0
    assert receiver.posts == []


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_receiver_that_fails_is_tried_again_later(receiver: Receiver, status: int, log_lines: LogLines) -> None:
    receiver.status = status
    trouble()
    assert send_due() == 0
    assert send_due() == 0
    assert len(receiver.posts) == 1
    [failed] = log_lines.of("notification.failed")
    assert failed["reason"] == f"the receiver answered {status}"
    assert failed["retry_in_seconds"] == 10
    assert "secret" not in json.dumps(failed)
    receiver.status = 204
    be_due()
    assert send_due() == 1
    assert receiver.posts[0][1] == receiver.posts[1][1]
    notification = IncidentNotification.objects.get()
    assert (notification.attempts, notification.error) == (2, "")


def test_a_message_that_never_arrives_is_given_up(receiver: Receiver, log_lines: LogLines) -> None:
    receiver.status = 503
    trouble()
    for _ in range(MOST_ATTEMPTS + 3):
        send_due()
        be_due()
    assert len(receiver.posts) == MOST_ATTEMPTS
    assert IncidentNotification.objects.get().given_up_at is not None
    assert len(log_lines.of("notification.given_up")) == 1


def test_one_channel_that_fails_does_not_hold_up_the_other(receiver: Receiver, mail_server: MailServer) -> None:
    mail_server.refuses = True
    trouble("one")
    trouble("two")
    assert send_due() == 2
    assert len(receiver.posts) == 2
    errors = IncidentNotification.objects.filter(channel="MAIL").values_list("attempts", "error")
    assert sorted(errors) == [(0, ""), (1, "the mail could not be sent: SMTPRecipientsRefused")]


def test_a_mail_server_that_is_not_there_is_a_failure_and_no_more(log_lines: LogLines) -> None:
    with override_settings(
        EMAIL_BACKEND=SMTP_BACKEND, EMAIL_HOST="127.0.0.1", EMAIL_PORT=1, INCIDENT_EMAILS=["desk@example.com"]
    ):
        trouble()
        assert send_due() == 0
    assert log_lines.of("notification.failed")[0]["reason"] == "the mail could not be sent: ConnectionRefusedError"


def test_a_receiver_that_hangs_is_left_within_its_deadline(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.notifications.POST_SECONDS", 0.3)
    receiver.wait = 3.0
    trouble()
    began = time.monotonic()
    assert send_due() == 0
    assert time.monotonic() - began < 2.7
    assert IncidentNotification.objects.get().error == "no answer within 0.3 s"


@pytest.mark.django_db(transaction=True)
def test_workers_share_the_sending_and_each_message_leaves_once(receiver: Receiver) -> None:
    incidents = [trouble(f"A:ord-{number}") for number in range(12)]

    def work(_: int) -> int:
        try:
            return send_due()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        assert sum(workers.map(work, range(4))) == len(incidents)
    told = [body["incident"]["incident_id"] for _, body in receiver.posts]
    assert sorted(told) == sorted(str(incident.pk) for incident in incidents)


@pytest.mark.django_db(transaction=True)
def test_the_workers_loop_does_not_wait_for_a_slow_receiver(receiver: Receiver) -> None:
    receiver.wait = 2.0
    trouble()
    notifier = Notifier()
    began = time.monotonic()
    assert notifier.send_notifications() == 1
    assert notifier.send_notifications() == 0
    assert time.monotonic() - began < 1.8
    notifier.finish()
    assert IncidentNotification.objects.get().sent_at is not None
    assert notifier.send_notifications() == 0
    assert len(receiver.posts) == 1


@pytest.mark.django_db(transaction=True)
def test_the_worker_tells_operators_of_what_it_finds(receiver: Receiver) -> None:
    incident = trouble()
    call_command("run_orchestrator", "--once")
    [(_, body)] = receiver.posts
    assert body["incident"]["incident_id"] == str(incident.pk)
    assert IncidentNotification.objects.get().sent_at is not None


# Settings


@pytest.mark.parametrize("url", ["ftp://x/", "https:///x", "http://a b/", "nothing", "http://[::1", "https://x:0/"])
def test_an_address_that_nothing_can_be_posted_to_is_refused_without_repeating_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCIDENT_WEBHOOK_URL", url)
    with pytest.raises(ImproperlyConfigured, match="INCIDENT_WEBHOOK_URL is not a usable address") as refused:
        read_webhook_url(Env(), "INCIDENT_WEBHOOK_URL")
    assert url not in str(refused.value)


def test_addresses_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCIDENT_EMAILS", "desk@example.com, night@example.com,")
    monkeypatch.setenv("INCIDENT_WEBHOOK_URL", " https://hooks.example.com/x?y=z ")
    assert read_emails(Env(), "INCIDENT_EMAILS") == ["desk@example.com", "night@example.com"]
    assert read_webhook_url(Env(), "INCIDENT_WEBHOOK_URL") == "https://hooks.example.com/x?y=z"
    monkeypatch.setenv("INCIDENT_EMAILS", "desk")
    with pytest.raises(ImproperlyConfigured, match="INCIDENT_EMAILS names 'desk'"):
        read_emails(Env(), "INCIDENT_EMAILS")


def test_two_kinds_of_encryption_are_refused() -> None:
    check_encryption(use_tls=True, use_ssl=False)
    with pytest.raises(ImproperlyConfigured, match="one of them"):
        check_encryption(use_tls=True, use_ssl=True)
