"""The credentials that quickstart made, kept for the next run in a file that only its owner can read."""

import json
import os
import secrets
from base64 import b64encode
from pathlib import Path

CREDENTIALS_FILE = "credentials.json"


def new_password() -> str:
    """Return a password that can be typed: 20 letters, digits, - and _ of 120 random bits."""
    return secrets.token_urlsafe(15)


def new_token() -> str:
    """Return a token for a URL or a header: 40 hex digits, the length of REST framework's own."""
    return secrets.token_hex(20)


def new_signing_secret() -> str:
    """Return a Standard Webhooks secret of 32 random bytes."""
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()


class KeptCredentials:
    """What earlier runs generated, by name. Given by the environment is never written here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            found = {}
        self._values: dict[str, str] = found if isinstance(found, dict) else {}

    def get(self, name: str) -> str:
        """Return the value of ``name``, empty when there is none."""
        return str(self._values.get(name, ""))

    def keep(self, name: str, value: str) -> str:
        """Keep ``value`` and return it."""
        if self._values.get(name) != value:
            self._values[name] = value
            self._write()
        return value

    def _write(self) -> None:
        fresh = self.path.with_suffix(".fresh")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._values, file, indent=2)
        fresh.replace(self.path)
