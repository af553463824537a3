"""The panel's form: all keys are judged together and saved together, as one revision with its author."""

from typing import Any

from constance.forms import ConstanceForm
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from config.panel import CONSTANCE_KEYS
from orchestrator.domain.operator_settings import SenselessSetting, read_settings
from orchestrator.panel.advice import advice
from orchestrator.revisions import record_revision


class PanelForm(ConstanceForm):  # type: ignore[misc]  # constance has no types
    """Constance's form, but for how it saves."""

    def __init__(self, initial: dict[str, Any], request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(initial, request, *args, **kwargs)
        self.request = request

    def clean_version(self) -> str:
        try:
            return str(super().clean_version())
        except ValidationError as refusal:
            self.add_error(None, refusal)  # the field is hidden, and so would its error be
            return str(self.initial["version"])

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] | None = super().clean()
        if not self.errors:
            try:
                read_settings({key: self.cleaned_data[key] for key in CONSTANCE_KEYS})
            except SenselessSetting as refusal:
                raise ValidationError(str(refusal)) from None
        return cleaned

    def save(self) -> list[str]:
        """Record one revision, tell its author what it means, and return the keys that changed.

        :raises ChangedMeanwhile: when another save came between the check of the form and this one.
        """
        seen = {key: self.initial[key] for key in CONSTANCE_KEYS}
        wanted = {key: self.cleaned_data[key] for key in CONSTANCE_KEYS}
        revision = record_revision(wanted, changed_by=self.request.user.get_username(), seen=seen)
        if revision is None:
            messages.info(self.request, "Nothing was changed, so there is no new revision.")
            return []
        messages.success(
            self.request, f"Saved as revision {revision.number}; the workers use it with their next batch of signals."
        )
        for sentence in advice(revision.as_domain()):
            messages.warning(self.request, sentence)
        return [key for key in CONSTANCE_KEYS if wanted[key] != seen[key]]
