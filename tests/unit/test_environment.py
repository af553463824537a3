"""Start-up refuses senseless settings with a sentence that names the setting and what is accepted (requirement 12.5)."""

import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from environ import Env
from hypothesis import given
from hypothesis import strategies as st

from config.database import database_settings
from config.environment import (
    PlainEnv,
    read_bool,
    read_choice,
    read_engine,
    read_engine_hosts,
    read_int,
    read_networks,
    read_number,
    read_seconds,
    read_secret_key,
    read_token,
)

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + b64encode(b"k" * 32).decode()
LONG_KEY = "a-key-that-is-long-enough-for-real-money-0123456789-xyz"


def environment(**values: str) -> Env:
    """Return an environment that holds ``values`` and nothing else."""
    env = PlainEnv()
    env.ENVIRON = dict(values)
    return env


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize("found", ["0", "-1", "nan", "inf", "soon", "", "86401", "1e9"])
def test_a_time_that_is_no_number_of_seconds_is_refused(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"LEASE_SECONDS.*Accepted"):
        read_seconds(environment(LEASE_SECONDS=found), "LEASE_SECONDS", default=30)


@pytest.mark.requirement("12.5")
@given(st.floats(min_value=0.001, max_value=86_400))
def test_every_number_of_seconds_up_to_a_day_is_read(seconds: float) -> None:
    assert read_seconds(environment(X=str(seconds)), "X", default=1) == seconds


@pytest.mark.requirement("12.5")
@given(st.text().filter(lambda text: text.strip().lower() not in ["true", "1", "yes", "on", "false", "0", "no", "off"]))
def test_what_is_neither_yes_nor_no_is_never_read_as_one(text: str) -> None:
    if not text.strip():
        assert read_bool(environment(X=text), "X") is False
        return
    with pytest.raises(ImproperlyConfigured, match=r"X.*Accepted: true or false"):
        read_bool(environment(X=text), "X")


@pytest.mark.requirement("12.5")
@given(st.integers(min_value=-1000, max_value=3000))
def test_a_whole_number_is_read_within_its_limits_only(number: int) -> None:
    env = environment(X=str(number))
    if 1 <= number <= 1000:
        assert read_int(env, "X", default=5, lowest=1, highest=1000) == number
    else:
        with pytest.raises(ImproperlyConfigured, match="from 1 to 1000"):
            read_int(env, "X", default=5, lowest=1, highest=1000)


@pytest.mark.parametrize("found", ["0", "-1", "nan", "inf", "a tenth", "", "101"])
def test_a_number_outside_its_limits_is_refused(found: str) -> None:
    assert read_number(environment(X="0.25"), "X", default=0.1, lowest=0.001, highest=100) == 0.25
    with pytest.raises(ImproperlyConfigured, match=r"from 0\.001 to 100"):
        read_number(environment(X=found), "X", default=0.1, lowest=0.001, highest=100)


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize("found", ["paper", "LIVE ", "", "BOTH"])
def test_an_unknown_app_mode_is_refused(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"APP_MODE.*PAPER or LIVE"):
        read_choice(environment(APP_MODE=found), "APP_MODE", choices=("PAPER", "LIVE"), default="PAPER")


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize(
    "found",
    [
        "localhost:8101",
        "ftp://engine",
        "http://",
        "http://user:password@engine",
        "http://engine?x=1",
        "http://engine#part",
        "http://engine:0",
        "http://engine:99999",
        "http://[::1",
        "python:",
        "python:module",
        "python::factory",
    ],
)
def test_an_address_that_no_engine_can_have_is_refused(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"ENGINE_A_URL.*Accepted") as refused:
        read_engine(environment(ENGINE_A_URL=found, ENGINE_A_SECRET=SECRET), "A")
    assert "password@" not in str(refused.value)


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize(
    "found", ["http://127.0.0.1:8101", "https://engine.example/base/", "python:package.module:make"]
)
def test_an_address_of_an_engine_is_read(found: str) -> None:
    engine = read_engine(environment(ENGINE_B_URL=found, ENGINE_B_SECRET=SECRET), "B")
    assert engine.url == found.rstrip("/")
    assert not (engine.idempotent)
    assert not (engine.queryable)
    assert not (engine.honours_not_after)


@pytest.mark.requirement("12.5")
def test_an_engine_over_http_without_a_secret_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="ENGINE_A_SECRET is not set"):
        read_engine(environment(ENGINE_A_URL="http://127.0.0.1:8101"), "A")


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize("found", ["secret", "whsec_", "whsec_c2hvcnQ=", "whsec_ä", f"{SECRET} plain", SECRET[6:]])
def test_a_secret_that_signs_nothing_is_refused_and_not_repeated(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="ENGINE_A_SECRET is not a signing secret") as refused:
        read_engine(environment(ENGINE_A_URL="http://127.0.0.1:8101", ENGINE_A_SECRET=found), "A")
    assert SECRET[6:] not in str(refused.value)


def test_two_secrets_are_kept_in_their_order_while_one_is_rotated() -> None:
    other = "whsec_" + b64encode(b"n" * 24).decode()
    assert read_engine(environment(ENGINE_A_SECRET=f"{other}  {SECRET}"), "A").secrets == (other, SECRET)


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize("found", ["", "short", "django-insecure-" + "x7" * 30, "ab" * 40])
def test_real_money_needs_a_real_key(found: str, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="APP_MODE is LIVE and SECRET_KEY"):
        read_secret_key(environment(SECRET_KEY=found), app_mode="LIVE", kept_in=tmp_path / "key")
    assert read_secret_key(environment(SECRET_KEY=LONG_KEY), app_mode="LIVE", kept_in=tmp_path / "key") == LONG_KEY


def test_on_paper_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "run" / "key"
    made = read_secret_key(environment(), app_mode="PAPER", kept_in=path)
    assert len(made) >= 64
    assert read_secret_key(environment(), app_mode="PAPER", kept_in=path) == made
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize("found", ["short", "with space in it", "slash/in/it", "x" * 41])
def test_a_token_that_fits_no_header_or_address_is_refused_and_not_repeated(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="API_TOKEN cannot be used") as refused:
        read_token(environment(API_TOKEN=found), "API_TOKEN", shortest=8, longest=40)
    assert found not in str(refused.value)


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize(
    "found", ["sqlite:///db.sqlite3", "mysql://u:secret@h/d", "nonsense", "postgresql://u:secret@h"]
)
def test_a_database_that_is_not_postgresql_is_refused_and_no_password_repeated(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL.*Accepted") as refused:
        database_settings(environment(DATABASE_URL=found), base_dir=PROJECT)
    assert "secret" not in str(refused.value)


def test_a_database_url_is_used_as_it_is_with_a_pool_and_a_limit_on_waiting() -> None:
    settings = database_settings(
        environment(DATABASE_URL="postgresql://u:p%40ss@db:5433/prod?sslmode=require"), base_dir=PROJECT
    )
    assert (settings["HOST"], settings["PORT"], settings["NAME"], settings["PASSWORD"]) == ("db", 5433, "prod", "p@ss")
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert settings["OPTIONS"]["pool"]["timeout"] <= 10
    assert settings["OPTIONS"]["connect_timeout"] <= 10


def test_without_a_database_url_the_server_of_the_project_is_used(tmp_path: Path) -> None:
    assert database_settings(environment(), base_dir=tmp_path)["EMBEDDED_POSTGRES_DIR"] == tmp_path / ".postgres"
    given_folder = environment(EMBEDDED_POSTGRES_DIR=str(tmp_path / "elsewhere"))
    assert database_settings(given_folder, base_dir=tmp_path)["EMBEDDED_POSTGRES_DIR"] == tmp_path / "elsewhere"


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_MODE", "REAL"),
        ("DEBUG", "maybe"),
        ("LEASE_SECONDS", "-5"),
        ("EXECUTION_WINDOW_SECONDS", "soon"),
        ("ENGINE_B_CONCURRENCY", "0"),
        ("ENGINE_A_IDEMPOTENT", "perhaps"),
        ("DATABASE_URL", "sqlite:///x"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_no_command_starts_with_a_senseless_setting(name: str, value: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=PROJECT,
        env={**os.environ, "RUN_DIR": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith(name)
    assert "Accepted" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_whose_reader_has_enough_ends_without_a_traceback(tmp_path: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "manage.py", "diffsettings"],
        cwd=PROJECT,
        env={**os.environ, "RUN_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout
    command.stdout.close()
    _, said = command.communicate(timeout=60)
    assert command.returncode == 1
    assert said == b""


def test_a_password_that_begins_with_a_dollar_sign_is_no_reference() -> None:
    assert environment(ADMIN_PASSWORD="$ecret", ecret="another").str("ADMIN_PASSWORD", default="") == "$ecret"


LIVE_HTTP = "http://10.0.0.5:8101"


@pytest.mark.parametrize(
    ("url", "allowed", "fine"),
    [
        ("https://engine.example.com", "", True),
        ("http://127.0.0.1:8101", "", True),
        ("http://localhost:8101", "", True),
        ("http://[::1]:8101", "", True),
        ("python:package.module:factory", "", True),
        (LIVE_HTTP, "", False),
        ("http://localhost.example.com", "", False),
        ("http://127.0.0.1.example.com", "", False),
        (LIVE_HTTP, "10.0.0.5", False),
        (LIVE_HTTP, "https://10.0.0.5", False),
        (LIVE_HTTP, "http://10.0.0.5", True),
        ("https://engine.example.com", "other.example.com", False),
        ("https://engine.example.com:8443/a", "other.example.com, Engine.example.com", True),
        ("https://engine.example.com", "http://engine.example.com", False),
        ("http://127.0.0.1:8101", "engine.example.com", False),
        ("http://[::1]:8101", "[::1]", True),
    ],
)
def test_real_money_goes_to_named_places_over_a_wire_that_nobody_reads(url: str, allowed: str, fine: bool) -> None:
    env = environment(ENGINE_A_URL=url, ENGINE_A_SECRET=SECRET, ENGINE_ALLOWED_HOSTS=allowed)
    hosts = read_engine_hosts(env)
    if fine:
        assert read_engine(env, "A", app_mode="LIVE", allowed_hosts=hosts).url == url
    else:
        with pytest.raises(ImproperlyConfigured, match="ENGINE_A_URL"):
            read_engine(env, "A", app_mode="LIVE", allowed_hosts=hosts)


def test_on_paper_plain_http_is_fine() -> None:
    assert read_engine(environment(ENGINE_A_URL=LIVE_HTTP, ENGINE_A_SECRET=SECRET), "A").url == LIVE_HTTP


@pytest.mark.parametrize("found", ["http://", "ftp://a", "a:80", "a/b", "*", "http://a@b"])
def test_a_place_that_is_no_host_is_refused(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="ENGINE_ALLOWED_HOSTS"):
        read_engine_hosts(environment(ENGINE_ALLOWED_HOSTS=found))


@pytest.mark.parametrize("found", ["nginx", "*", "10.0.0.0/99", "127.0.0.1:80"])
def test_a_proxy_that_is_no_address_is_refused(found: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"):
        read_networks(environment(TRUSTED_PROXIES=found), "TRUSTED_PROXIES")


def test_a_secret_of_an_engine_is_not_in_its_description() -> None:
    engine = read_engine(environment(ENGINE_A_URL="http://127.0.0.1:8101", ENGINE_A_SECRET=SECRET), "A")
    assert SECRET not in repr(engine)
