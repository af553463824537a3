"""The panel: one save is one revision, a refusal changes nothing, and a failing database is never a default."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from threading import Barrier, Event
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from constance import config  # noqa: TID251 - the panel is what is tested
from constance.models import Constance  # noqa: TID251
from constance.utils import aget_values, get_values  # noqa: TID251
from django.contrib.auth.models import Permission, User
from django.core.management import ManagementUtility, call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from orchestrator.domain.operator_settings import SenselessSetting
from orchestrator.experiments import create_experiments
from orchestrator.models import Experiment, PolicyRevision
from orchestrator.panel.forms import PanelForm
from orchestrator.queue import claim_signals
from orchestrator.revisions import POLICY_LOCK, ChangedMeanwhile, current_revision, record_revision, settings_of
from tests.factories import make_health, make_signal

DEFAULTS = {
    "EXECUTION_MODE": "AUTO",
    "SPLIT_PERCENTAGE": 50,
    "TRADING_HALTED": False,
    "MAX_SIGNAL_AGE_SECONDS": 300,
}
PAGE = "/admin/constance/config/"
REFUSED = [
    ("SPLIT_PERCENTAGE", "0.5"),
    ("SPLIT_PERCENTAGE", "101"),
    ("SPLIT_PERCENTAGE", "-1"),
    ("SPLIT_PERCENTAGE", "1e2"),
    ("SPLIT_PERCENTAGE", "50.0"),
    ("SPLIT_PERCENTAGE", "True"),
    ("SPLIT_PERCENTAGE", ""),
    ("EXECUTION_MODE", "LIVE"),
    ("EXECUTION_MODE", "auto"),
    ("TRADING_HALTED", "maybe"),
    ("TRADING_HALTED", ""),
    ("MAX_SIGNAL_AGE_SECONDS", "0"),
    ("MAX_SIGNAL_AGE_SECONDS", "86401"),
    ("MAX_SIGNAL_AGE_SECONDS", "five minutes"),
    ("SPLIT", "50"),
]


def told(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.django_db
class TestRevisions:
    @pytest.mark.requirement("12.1")
    def test_the_first_revision_is_made_of_the_defaults(self) -> None:
        first = current_revision()
        assert (first.number, first.policy_version, first.changed_by) == (1, "v1.0-r1", "defaults")
        assert settings_of(first) == DEFAULTS
        assert first.app_mode == "PAPER"
        assert current_revision() == first

    @pytest.mark.requirement("12.2", "property-32")
    def test_several_keys_are_one_revision(self) -> None:
        revision = record_revision({"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 30}, changed_by="ann")
        assert revision is not None
        assert settings_of(revision) == DEFAULTS | {"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 30}
        assert (revision.number, revision.changed_by) == (2, "ann")
        assert current_revision() == revision
        assert get_values() == settings_of(revision)

    def test_a_save_that_changes_nothing_is_no_revision(self) -> None:
        record_revision({"SPLIT_PERCENTAGE": 30}, changed_by="ann")
        assert record_revision({"SPLIT_PERCENTAGE": "30"}, changed_by="bob") is None
        assert record_revision({}, changed_by="bob") is None
        assert PolicyRevision.objects.count() == 2

    @pytest.mark.requirement("12.5")
    def test_one_refused_value_refuses_the_whole_save(self) -> None:
        current_revision()
        with pytest.raises(SenselessSetting, match="SPLIT_PERCENTAGE"):
            record_revision({"TRADING_HALTED": True, "SPLIT_PERCENTAGE": 0.5}, changed_by="ann")
        assert settings_of(current_revision()) == DEFAULTS
        assert PolicyRevision.objects.count() == 1

    def test_another_app_mode_is_recorded_as_a_change_by_the_environment(self, settings: Settings) -> None:
        record_revision({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, changed_by="ann")
        settings.APP_MODE = "LIVE"
        live = current_revision()
        assert (live.number, live.app_mode, live.changed_by) == (3, "LIVE", "environment")
        assert live.execution_mode == "ENGINE_B_PRIMARY"
        assert current_revision() == live

    def test_a_mode_may_be_changed_while_trading_is_halted(self) -> None:
        record_revision({"TRADING_HALTED": True}, changed_by="ann")
        changed = record_revision({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, changed_by="ann")
        assert changed is not None
        assert changed.trading_halted

    def test_what_was_shown_must_still_be_so_when_it_is_saved(self) -> None:
        shown = settings_of(current_revision())
        record_revision({"SPLIT_PERCENTAGE": 10}, changed_by="ann")
        with pytest.raises(ChangedMeanwhile, match="changed by someone else"):
            record_revision({"EXECUTION_MODE": "SPLIT_CAPITAL"}, changed_by="bob", seen=shown)
        assert settings_of(current_revision()) == DEFAULTS | {"SPLIT_PERCENTAGE": 10}

    @pytest.mark.requirement("12.2", "property-32")
    def test_the_next_batch_uses_a_change_and_earlier_experiments_keep_theirs(self) -> None:
        for engine in "AB":
            make_health(engine)
        make_signal()
        create_experiments(claim_signals(limit=10, lease_seconds=30))
        record_revision({"EXECUTION_MODE": "ENGINE_B_PRIMARY", "SPLIT_PERCENTAGE": 100}, changed_by="ann")
        make_signal()
        create_experiments(claim_signals(limit=10, lease_seconds=30))
        first, second = Experiment.objects.select_related("policy").order_by("created_at")
        assert (first.policy.execution_mode, first.split_percentage, first.policy_version) == (
            "ENGINE_A_PRIMARY", 50, "v1.0-r1",
        )  # fmt: skip
        assert (second.policy.execution_mode, second.split_percentage, second.policy_version) == (
            "ENGINE_B_PRIMARY", 100, "v1.0-r2",
        )  # fmt: skip
        assert second.variant == "A"


@pytest.mark.django_db
class TestReading:
    @pytest.mark.requirement("12.1")
    def test_reading_writes_nothing(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(1):
            assert get_values() == DEFAULTS
        with django_assert_num_queries(1):
            assert config.SPLIT_PERCENTAGE == 50
        assert not Constance.objects.exists()
        assert not PolicyRevision.objects.exists()

    @pytest.mark.requirement("12.1")
    def test_a_value_that_was_set_is_read(self) -> None:
        config.TRADING_HALTED = True
        assert config.TRADING_HALTED is True
        assert get_values()["TRADING_HALTED"] is True
        assert current_revision().changed_by == "cli"

    @pytest.mark.requirement("12.5")
    @pytest.mark.parametrize("table", ["constance_constance", "policy_revisions"])
    def test_a_database_that_cannot_answer_is_an_error_and_never_a_default(self, table: str) -> None:
        record_revision({"TRADING_HALTED": True}, changed_by="ann")
        reading = [get_values, lambda: config.TRADING_HALTED]
        if table == "policy_revisions":
            reading = [current_revision, lambda: record_revision({"SPLIT_PERCENTAGE": 1}, changed_by="ann")]
        for read in reading:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"ALTER TABLE {table} RENAME TO gone")
                with pytest.raises(DatabaseError), transaction.atomic():
                    read()
                with connection.cursor() as cursor:
                    cursor.execute(f"ALTER TABLE gone RENAME TO {table}")
        assert current_revision().trading_halted

    @pytest.mark.requirement("12.5")
    def test_a_write_that_the_database_refuses_is_an_error_and_changes_nothing(self) -> None:
        current_revision()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE constance_constance RENAME TO gone")
            with pytest.raises(DatabaseError), transaction.atomic():
                config.SPLIT_PERCENTAGE = 10
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE gone RENAME TO constance_constance")
        assert PolicyRevision.objects.count() == 1


@pytest.mark.django_db
class TestCommands:
    @pytest.mark.requirement("12.1", "12.2")
    def test_constance_set_makes_one_revision(self) -> None:
        told("constance", "set", "SPLIT_PERCENTAGE", " 30 ")
        revision = PolicyRevision.objects.get(number=2)
        assert (revision.split_percentage, revision.changed_by) == (30, "cli")
        assert told("constance", "get", "SPLIT_PERCENTAGE") == "30\n"
        assert "EXECUTION_MODE\tAUTO" in told("constance", "list")
        assert PolicyRevision.objects.count() == 2

    @pytest.mark.requirement("12.5")
    @pytest.mark.parametrize(("key", "value"), REFUSED)
    def test_constance_set_refuses_what_is_senseless(self, key: str, value: str) -> None:
        current_revision()
        with pytest.raises(CommandError) as refusal:
            told("constance", "set", key, value)
        assert key in str(refusal.value) or "required" in str(refusal.value)
        assert settings_of(PolicyRevision.objects.get()) == DEFAULTS

    @pytest.mark.requirement("12.5")
    @pytest.mark.parametrize(
        "arguments", [["set", "version", "5"], ["get", "version"], ["set", "_backend", "5"], ["get", "NOPE"], []]
    )
    def test_constance_refuses_what_is_no_setting_with_a_sentence(self, arguments: list[str]) -> None:
        with pytest.raises(CommandError, match=r"Accepted: EXECUTION_MODE, |Say what to do"):
            told("constance", *arguments)

    @pytest.mark.parametrize(
        ("up", "said"),
        [("", "nothing is traded in any mode"), ("A", "signals that it would trade"), ("AB", "SPLIT_PERCENTAGE=50")],
    )
    def test_set_policy_says_when_an_engine_is_not_there(self, up: str, said: str) -> None:
        for engine in up:
            make_health(engine)
        answer = told("set_policy", "EXECUTION_MODE=SPLIT_CAPITAL")
        assert said in answer
        assert ("not known to be available" in answer) is (up != "AB")

    @pytest.mark.requirement("12.2")
    def test_set_policy_makes_one_revision_of_several_keys(self) -> None:
        answer = told("set_policy", "EXECUTION_MODE=SPLIT_CAPITAL", "SPLIT_PERCENTAGE=0", "TRADING_HALTED=on")
        assert answer.startswith("Revision 2 (v1.0-r2): EXECUTION_MODE=SPLIT_CAPITAL, SPLIT_PERCENTAGE=0, ")
        assert "gives every signal to engine B" in answer
        assert "nothing is traded" in answer
        revision = PolicyRevision.objects.get(number=2)
        assert (revision.changed_by, revision.trading_halted) == ("cli", True)
        assert "revision 2 says so already" in told("set_policy", "SPLIT_PERCENTAGE=0")
        assert PolicyRevision.objects.count() == 2

    @pytest.mark.requirement("12.5")
    @pytest.mark.parametrize(
        "pairs",
        [
            *([f"{key}={value}"] for key, value in REFUSED),
            ["SPLIT_PERCENTAGE"],
            ["=5"],
            ["SPLIT_PERCENTAGE=5", "SPLIT_PERCENTAGE=6"],
            ["EXECUTION_MODE=SHADOW_ONLY", "SPLIT_PERCENTAGE=half"],
        ],
    )
    def test_set_policy_refuses_what_is_senseless(self, pairs: list[str]) -> None:
        current_revision()
        with pytest.raises(CommandError, match=r"Nothing was changed\.$"):
            told("set_policy", *pairs)
        assert settings_of(PolicyRevision.objects.get()) == DEFAULTS


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    @pytest.fixture
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(max_workers=8) as pool:
            yield pool

    def run(self, pool: ThreadPoolExecutor, work: list[Any]) -> list[Any]:
        """Run all of ``work`` at once, each in a thread with its own connection; return results or errors."""
        start = Barrier(len(work))

        def one(job: Any) -> Any:
            try:
                start.wait(timeout=10)
                return job()
            except ChangedMeanwhile as error:
                return error
            finally:
                connection.close()

        return list(pool.map(one, work))

    def test_only_one_of_many_processes_makes_the_first_revision(self, threads: ThreadPoolExecutor) -> None:
        made = self.run(threads, [current_revision] * 8)
        assert {revision.number for revision in made} == {1}
        assert PolicyRevision.objects.count() == 1

    @pytest.mark.requirement("12.2")
    def test_of_two_savers_of_the_same_page_one_is_told_to_look_again(self, threads: ThreadPoolExecutor) -> None:
        shown = settings_of(current_revision())
        one, two = self.run(
            threads,
            [
                lambda: record_revision({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, changed_by="ann", seen=shown),
                lambda: record_revision({"SPLIT_PERCENTAGE": 10}, changed_by="bob", seen=shown),
            ],
        )
        assert [isinstance(result, ChangedMeanwhile) for result in (one, two)].count(True) == 1
        assert PolicyRevision.objects.count() == 2

    def test_savers_of_different_keys_both_get_their_revision(self, threads: ThreadPoolExecutor) -> None:
        current_revision()
        self.run(
            threads,
            [
                lambda: record_revision({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, changed_by="ann"),
                lambda: record_revision({"SPLIT_PERCENTAGE": 10}, changed_by="bob"),
            ],
        )
        assert settings_of(current_revision()) == DEFAULTS | {
            "EXECUTION_MODE": "ENGINE_B_PRIMARY",
            "SPLIT_PERCENTAGE": 10,
        }
        assert list(PolicyRevision.objects.order_by("number").values_list("number", flat=True)) == [1, 2, 3]

    @pytest.mark.requirement("12.2", "property-32")
    def test_a_reader_never_sees_half_of_a_save(self, threads: ThreadPoolExecutor) -> None:
        pairs = [("SHADOW_ONLY", 10), ("SPLIT_CAPITAL", 90)]
        record_revision({"EXECUTION_MODE": "SHADOW_ONLY", "SPLIT_PERCENTAGE": 10}, changed_by="ann")
        done = Event()

        def read() -> set[tuple[str, int]]:
            seen = set()
            while not done.is_set():
                values, revision = get_values(), current_revision()
                seen.add((values["EXECUTION_MODE"], values["SPLIT_PERCENTAGE"]))
                seen.add((revision.execution_mode, revision.split_percentage))
            return seen

        def write() -> set[tuple[str, int]]:
            for number in range(100):
                mode, split = pairs[number % 2]
                record_revision({"EXECUTION_MODE": mode, "SPLIT_PERCENTAGE": split}, changed_by="ann")
            done.set()
            return set()

        seen = set.union(*self.run(threads, [read, read, write]))
        assert seen == set(pairs)

    def test_a_save_waits_for_permits_that_are_being_armed(self) -> None:
        current_revision()
        with ThreadPoolExecutor(max_workers=1) as pool, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [POLICY_LOCK])
            result = pool.submit(self.impatient_save)
            with pytest.raises(OperationalError, match="lock timeout"):
                result.result(timeout=20)
        assert not current_revision().trading_halted

    def impatient_save(self) -> None:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '200ms'")
                record_revision({"TRADING_HALTED": True}, changed_by="ann")
        finally:
            connection.close()

    @pytest.mark.requirement("12.5")
    def test_a_lost_connection_is_an_error_and_never_a_default(self) -> None:
        record_revision({"TRADING_HALTED": True}, changed_by="ann")
        with ThreadPoolExecutor(max_workers=1) as pool, transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
            pool.submit(self.terminate, pid).result(timeout=20)
            with pytest.raises(OperationalError):
                get_values()
            connection.set_rollback(True)
        connection.close()
        assert get_values()["TRADING_HALTED"] is True

    def terminate(self, pid: int) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        finally:
            connection.close()

    @pytest.mark.requirement("12.5")
    @pytest.mark.parametrize(
        "arguments", [["constance", "set", "SPLIT_PERCENTAGE", "0.5"], ["set_policy", "SPLIT_PERCENTAGE=0.5"]]
    )
    def test_a_refusal_is_one_sentence_and_a_failing_exit_code(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as stopped:
            ManagementUtility(["manage.py", *arguments]).execute()
        assert stopped.value.code
        said = capsys.readouterr().err
        assert "SPLIT_PERCENTAGE is '0.5'. Accepted: a whole number from 0 to 100" in said
        assert "Traceback" not in said

    def test_the_asynchronous_door_leads_to_the_same_place(self) -> None:
        async def set_and_read() -> Any:
            await config.aset("SPLIT_PERCENTAGE", 20)
            return await aget_values(), await config._backend.aget("SPLIT_PERCENTAGE")

        values, single = async_to_sync(set_and_read)()
        assert values == DEFAULTS | {"SPLIT_PERCENTAGE": 20}
        assert single == 20
        assert current_revision().changed_by == "cli"


@pytest.mark.django_db
class TestThePage:
    @pytest.fixture
    def user(self) -> User:
        return User.objects.create_user("carol", is_staff=True)

    @pytest.fixture
    def browser(self, client: Client, user: User) -> Client:
        client.force_login(user)
        return client

    def allow(self, user: User, *names: str) -> None:
        user.user_permissions.add(*Permission.objects.filter(content_type__app_label="constance", codename__in=names))

    def filled(self, browser: Client, **changes: Any) -> dict[str, Any]:
        """Return what a browser would send back of the page as it is shown now, with ``changes``."""
        form = browser.get(PAGE).context["form"]
        shown = {name: form[name].value() for name in form.fields} | changes
        return {name: value for name, value in shown.items() if value is not False}

    def test_a_stranger_is_sent_to_the_login(self, client: Client) -> None:
        assert client.get(PAGE).status_code == 302

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_without_a_permission_there_is_nothing_to_see(self, browser: Client, method: str) -> None:
        assert getattr(browser, method)(PAGE).status_code == 403
        assert browser.get(f"{PAGE}history/").status_code == 403

    @pytest.mark.requirement("12.1")
    def test_who_may_look_sees_the_settings_and_cannot_save(self, browser: Client, user: User) -> None:
        self.allow(user, "view_config")
        page = browser.get(PAGE)
        assert page.status_code == 200
        assert all(field.disabled for name, field in page.context["form"].fields.items() if name != "version")
        assert browser.post(PAGE, {"TRADING_HALTED": "on"}).status_code == 403
        assert settings_of(current_revision()) == DEFAULTS

    @pytest.mark.requirement("12.1", "12.3")
    def test_the_page_explains_every_key_and_offers_every_mode(self, browser: Client, user: User) -> None:
        self.allow(user, "view_config", "change_config")
        text = browser.get(PAGE).content.decode()
        for word in (*DEFAULTS, "AUTO", "SHADOW_ONLY", "ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL"):
            assert word in text
        assert "The emergency stop." in text
        assert "revision 1" in text
        assert "APP_MODE PAPER" in text
        assert f"{PAGE}history/" in text

    @pytest.mark.requirement("12.2")
    def test_a_save_of_several_keys_is_one_revision_with_its_author(self, browser: Client, user: User) -> None:
        self.allow(user, "view_config", "change_config")
        changes = {"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": "25", "TRADING_HALTED": "on"}
        answer = browser.post(PAGE, self.filled(browser, **changes), follow=True)
        assert "Saved as revision 2" in answer.content.decode()
        newest = current_revision()
        assert (newest.number, newest.changed_by) == (2, "carol")
        assert settings_of(newest) == DEFAULTS | {
            "EXECUTION_MODE": "SPLIT_CAPITAL",
            "SPLIT_PERCENTAGE": 25,
            "TRADING_HALTED": True,
        }
        browser.post(PAGE, {name: value for name, value in self.filled(browser).items() if name != "TRADING_HALTED"})
        assert current_revision().trading_halted is False

    def test_a_save_without_a_change_is_no_revision(self, browser: Client, user: User) -> None:
        self.allow(user, "view_config", "change_config")
        answer = browser.post(PAGE, self.filled(browser), follow=True)
        assert "Nothing was changed" in answer.content.decode()
        assert PolicyRevision.objects.count() == 1

    @pytest.mark.requirement("12.5")
    @pytest.mark.parametrize(("key", "value"), [pair for pair in REFUSED if pair[0] not in ("SPLIT", "TRADING_HALTED")])
    def test_senseless_input_is_refused_on_the_page(self, browser: Client, user: User, key: str, value: str) -> None:
        self.allow(user, "view_config", "change_config")
        answer = browser.post(PAGE, self.filled(browser, EXECUTION_MODE="SHADOW_ONLY") | {key: value})
        assert answer.status_code == 200
        assert re.search(rf"{key} is .*Accepted: |This field is required", answer.content.decode())
        assert settings_of(current_revision()) == DEFAULTS

    def test_a_page_that_is_out_of_date_is_refused_visibly(self, browser: Client, user: User) -> None:
        self.allow(user, "view_config", "change_config")
        old = self.filled(browser, EXECUTION_MODE="ENGINE_B_PRIMARY")
        record_revision({"SPLIT_PERCENTAGE": 10}, changed_by="dave")
        answer = browser.post(PAGE, old)
        assert "modified by someone else" in answer.content.decode()
        assert settings_of(current_revision()) == DEFAULTS | {"SPLIT_PERCENTAGE": 10}

    def test_a_save_that_came_between_the_check_and_this_one_wins_visibly(
        self, browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.allow(user, "view_config", "change_config")
        mine = self.filled(browser, EXECUTION_MODE="ENGINE_B_PRIMARY")
        checked = PanelForm.is_valid

        def check_then_be_overtaken(form: PanelForm) -> bool:
            is_valid = bool(checked(form))
            record_revision({"SPLIT_PERCENTAGE": 10}, changed_by="dave")
            return is_valid

        monkeypatch.setattr(PanelForm, "is_valid", check_then_be_overtaken)
        answer = browser.post(PAGE, mine, follow=True)
        assert "nothing was saved" in answer.content.decode()
        assert settings_of(current_revision()) == DEFAULTS | {"SPLIT_PERCENTAGE": 10}

    @pytest.mark.requirement("6.5")
    def test_the_history_lists_every_revision(self, browser: Client, user: User) -> None:
        self.allow(user, "view_config")
        record_revision({"EXECUTION_MODE": "ENGINE_B_PRIMARY"}, changed_by="dave")
        record_revision({"TRADING_HALTED": True}, changed_by="erin")
        text = browser.get(f"{PAGE}history/").content.decode()
        positions = [text.index(word) for word in ("v1.0-r3", "erin", "v1.0-r2", "dave", "v1.0-r1", "defaults")]
        assert positions == sorted(positions)
        assert "halted" in text

    def test_a_long_history_has_pages(
        self, browser: Client, user: User, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        self.allow(user, "view_config")
        for split in range(60):
            record_revision({"SPLIT_PERCENTAGE": split}, changed_by="dave")
        with django_assert_max_num_queries(20):
            assert "v1.0-r61" in browser.get(f"{PAGE}history/").content.decode()
        second = browser.get(f"{PAGE}history/?p=2").content.decode()
        assert ">v1.0-r1<" in second
        assert "v1.0-r61" not in second
        assert browser.get(f"{PAGE}history/?p=nonsense").status_code == 200


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize(
    ("name", "value"), [("APP_MODE", "DEMO"), ("LEASE_SECONDS", "-1"), ("ENGINE_A_URL", "ftp://engine")]
)
def test_a_start_with_a_senseless_setting_fails_with_a_sentence(name: str, value: str, tmp_path: Any) -> None:
    started = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={name: value, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert started.returncode != 0
    assert f"{name} is " in started.stderr
