"""Redaction: secrets are gone before anything is stored, hashed or logged, and nothing else is touched."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from webhooks.alerts.redaction import REDACTED, redact, redact_bytes

TOKEN = "hook-TOKEN_0123456789"
harmless = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: TOKEN not in text)
harmless_keys = st.sampled_from(["ticker", "action", "note", "token", "a b", "é", "n"])
documents = st.dictionaries(
    harmless_keys,
    st.recursive(
        st.none() | st.booleans() | st.integers() | harmless,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(harmless_keys, inner, max_size=3),
        max_leaves=6,
    ),
)


@given(documents, st.booleans(), st.sampled_from([None, 1]))
def test_without_a_secret_the_text_stays_as_it_is(said: dict[str, object], escaped: bool, indent: int | None) -> None:
    text = json.dumps(said, ensure_ascii=escaped, indent=indent)
    assert redact(text, [TOKEN]) == text


@pytest.mark.parametrize(
    "key", ["secret", "passphrase", "password", "Password", "PASS_PHRASE", "apiKey", "webhook-secret"]
)
@pytest.mark.parametrize(
    "value", ['"hunter2"', "12345", "true", '{"deep": ["hunter2", {"x": "}"}]}', '["a", "]"]', '""']
)
def test_the_value_of_a_secret_like_key_is_replaced_whole(key: str, value: str) -> None:
    before = f'{{ "ticker":"SPY", "{key}" : {value} , "close":589.120 }}'
    assert redact(before, [TOKEN]) == f'{{ "ticker":"SPY", "{key}" : "[redacted]" , "close":589.120 }}'


def test_a_secret_like_key_that_is_escaped_is_one() -> None:
    assert redact('{"p\\u0061ssword": "x"}', [TOKEN]) == '{"p\\u0061ssword": "[redacted]"}'


def test_secrets_in_nested_objects_and_lists_are_found() -> None:
    said = {"auth": {"secret": "x"}, "list": [{"password": "y"}, TOKEN]}
    assert json.loads(redact(json.dumps(said), [TOKEN])) == {
        "auth": {"secret": REDACTED},
        "list": [{"password": REDACTED}, REDACTED],
    }


def test_a_crypto_token_is_no_secret() -> None:
    assert redact('{"token": "PEPE"}', [TOKEN]) == '{"token": "PEPE"}'


def test_the_webhooks_token_is_one_wherever_it_stands() -> None:
    text = json.dumps({"token": TOKEN, TOKEN: 1, "note": f"see https://host/webhooks/tradingview/{TOKEN}/ there"})
    assert json.loads(redact(text, [TOKEN])) == {
        "token": REDACTED,
        REDACTED: 1,
        "note": f"see https://host/webhooks/tradingview/{REDACTED}/ there",
    }


def test_an_escaped_token_is_found() -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in TOKEN)
    assert redact(f'{{"a": "{escaped}"}}', [TOKEN]) == '{"a": "[redacted]"}'


def test_a_token_of_digits_is_found_in_a_number() -> None:
    assert json.loads(redact('{"a": 1234567890}', ["34567890"])) == {"a": REDACTED}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("buy SPY passphrase=hunter2", "buy SPY passphrase=[redacted]"),
        ("buy SPY; password: hunter2; size=1", "buy SPY; password: [redacted]; size=1"),
        (f"buy SPY {TOKEN}", "buy SPY [redacted]"),
        ('{"secret": "hunter2', '{"secret": "[redacted]"'),
        ('{"secret": hunter2, "a": }', '{"secret": "[redacted]", "a": }'),
        ('{"secret": {"a": "hunter2"', '{"secret": "[redacted]"'),
        ("{'secret': 'hunter2', 'a': 1}", "{'secret': \"[redacted]\", 'a': 1}"),
        ("{\u201csecret\u201d: \u201chunter2\u201d, a: 1D}", '{\u201csecret\u201d: "[redacted]", a: 1D}'),
        (
            "{secret: hunter2, auth: {passphrase: {x: hunter2}}}",
            '{secret: "[redacted]", auth: {passphrase: "[redacted]"}}',
        ),
        ('{secret: "hunter2 more", x', '{secret: "[redacted]", x'),
        ('START{"passphrase": "hunter2"}END', 'START{"passphrase": "[redacted]"}END'),
        ("key=hunter2;command=PLACE", "key=[redacted];command=PLACE"),
        ('password: "hunter2 and more" buy', "password: [redacted] buy"),
        ("[{'secret': hunter2}]", "[{'secret': \"[redacted]\"}]"),
    ],
)
def test_what_is_no_json_is_redacted_as_well(before: str, after: str) -> None:
    assert redact(before, [TOKEN]) == after


@given(harmless, harmless, st.sampled_from(['{"a": "%s"}', "%s", '{"%s": 1}', '{"a": %s}', '["%s', "a=%s;"]))
def test_no_text_keeps_the_token(before: str, after: str, form: str) -> None:
    assume(TOKEN not in before + after)
    assert TOKEN not in redact(form % f"{before}{TOKEN}{after}", [TOKEN])


@given(st.text(max_size=100))
def test_redaction_never_fails(text: str) -> None:
    assert redact(redact(text, [TOKEN]), [TOKEN]) == redact(text, [TOKEN])


@given(documents)
def test_json_stays_json(said: dict[str, object]) -> None:
    text = json.dumps({"secret": said, "said": said, "t": TOKEN})
    assert json.loads(redact(text, [TOKEN])) == {"secret": REDACTED, "said": said, "t": REDACTED}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_token_is_found_in_other_encodings(encoding: str) -> None:
    raw = redact_bytes(f'{{"a": "{TOKEN}"}}'.encode(encoding), [TOKEN])
    assert TOKEN.encode(encoding.removesuffix("-le").removesuffix("-be"))[4:] not in raw
    assert raw.decode(encoding) == f'{{"a": "{REDACTED}"}}'
