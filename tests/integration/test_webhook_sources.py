"""Sources: made with a token that only its maker sees, refused with a sentence when they make no sense."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from webhooks.models import AlertSource
from webhooks.services import SourceExists, UnusableToken, create_source, find_source, new_token, replace_token

pytestmark = pytest.mark.django_db


def test_a_source_is_found_by_its_token() -> None:
    token = new_token()
    assert find_source(token) is None
    source = create_source("default", token)
    assert find_source(token) == source
    assert find_source(token + "x") is None


def test_a_replaced_token_is_unknown_from_then_on() -> None:
    source = create_source("default", "first-token")
    replace_token(source, "second-token")
    assert find_source("first-token") is None
    assert find_source("second-token") == source


def test_a_disabled_source_is_not_found() -> None:
    create_source("default", "first-token", enabled=False)
    assert find_source("first-token") is None


def test_a_name_or_a_token_is_given_once() -> None:
    create_source("default", "first-token")
    with pytest.raises(SourceExists, match="'default'"):
        create_source("default", "second-token")
    with pytest.raises(SourceExists):
        create_source("other", "first-token")
    assert AlertSource.objects.count() == 1


@pytest.mark.parametrize("token", ["", "short", "with space", "a/b/c/d/e", "é" * 10, "x" * 201, "new\nline1"])
def test_a_token_that_cannot_stand_in_an_address_is_refused(token: str) -> None:
    with pytest.raises(UnusableToken, match="8 to 200"):
        create_source("default", token)


@pytest.mark.parametrize(
    ("defaults", "field"),
    [
        ({"default_timeframe": "soon"}, "default_timeframe"),
        ({"paths": {"side": "order.side"}}, "paths"),
        ({"paths": {"direction": ""}}, "paths"),
        ({"paths": ["direction"]}, "paths"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"dedupe_window_seconds": -1}, "dedupe_window_seconds"),
    ],
)
def test_a_default_that_makes_no_sense_is_refused(defaults: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        create_source("default", "first-token", **defaults)
    assert field in refused.value.message_dict
    assert not AlertSource.objects.exists()


def test_a_default_timeframe_is_kept_as_signals_spell_it() -> None:
    assert create_source("default", "first-token", default_timeframe="1h").default_timeframe == "60"
