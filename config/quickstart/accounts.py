"""The admin user, its API token and the alert source of a first run: made when missing, kept otherwise."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from rest_framework.authtoken.models import Token

from config.quickstart.credentials import KeptCredentials, new_password, new_token
from webhooks.models import AlertSource
from webhooks.services import create_source, hash_of_token, replace_token

ADMIN_NAME = "admin"
SOURCE_NAME = "default"


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a person needs to come in; a password or token that is not known here is empty."""

    admin_password: str
    api_token: str
    webhook_token: str
    source_id: UUID


def ensure_accounts(kept: KeptCredentials, *, admin_password: str, api_token: str, webhook_token: str) -> Accounts:
    """Make the user ``admin``, its token and the source ``default``, or bring them up to what was given.

    A given (not empty) value holds from now on; otherwise an existing one stays and a missing one is generated.
    """
    with transaction.atomic():
        source, webhook_token = _ensure_source(kept, webhook_token)
        return Accounts(
            admin_password=_ensure_admin(kept, admin_password),
            api_token=_ensure_api_token(api_token),
            webhook_token=webhook_token,
            source_id=source.pk,
        )


def _ensure_admin(kept: KeptCredentials, given: str) -> str:
    users = get_user_model().objects
    user = users.filter(username=ADMIN_NAME).first()
    if user is None:
        password = given or kept.keep("admin_password", kept.get("admin_password") or new_password())
        users.create_superuser(ADMIN_NAME, password=password)
        return password
    if given:
        if not user.check_password(given):
            user.set_password(given)
            user.save(update_fields=["password"])
        return given
    return kept.get("admin_password") if user.check_password(kept.get("admin_password")) else ""


def _ensure_api_token(given: str) -> str:
    user = get_user_model().objects.get(username=ADMIN_NAME)
    token = Token.objects.filter(user=user).first()
    if token is not None and given in ("", token.key):
        return str(token.key)
    Token.objects.filter(user=user).delete()
    return str(Token.objects.create(user=user, key=given or new_token()).key)


def _ensure_source(kept: KeptCredentials, given: str) -> tuple[AlertSource, str]:
    source = AlertSource.objects.filter(name=SOURCE_NAME).first()
    if source is None:
        token = given or kept.keep("webhook_token", kept.get("webhook_token") or new_token())
        return create_source(name=SOURCE_NAME, token=token), token
    if given and source.token_sha256 != hash_of_token(given):
        replace_token(source, given)
    known = [
        token for token in (given, kept.get("webhook_token")) if token and hash_of_token(token) == source.token_sha256
    ]
    return source, known[0] if known else ""
