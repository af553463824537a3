"""Alert sources in the admin: made, restricted, given a new token; what is secret is shown once and never again."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from webhooks.admin.columns import act, column
from webhooks.message_templates import INDICATOR_ALERT, STRATEGY_ALERT
from webhooks.models import AlertSource
from webhooks.networks import TRADINGVIEW
from webhooks.services import UnusableSecret, hash_of_token, new_token, replace_token, set_body_secret

LONGEST_OVERLAP_HOURS = 24 * 30


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A source, its networks a line each; a secret goes in and never comes out."""

    allowed_networks = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Addresses and networks that may send, one a line: 52.89.214.238, 10.0.0.0/8. Empty: any. Behind a proxy, "
        "TRUSTED_PROXIES must name it, else every alert seems to come from the proxy.",
    )
    only_tradingview = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        label="Add TradingView's addresses",
        help_text=f"The ones that it publishes: {', '.join(name.removesuffix('/32') for name in TRADINGVIEW)}.",
    )
    new_body_secret = forms.CharField(
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        label="Secret in the body",
        help_text="For senders that can keep no secret elsewhere: every alert has to carry it as a value, under any name. 16 to 200 "
        "letters, digits or any of - . _ ~. Only its hash is kept, and it is redacted from what is stored.",
    )
    no_body_secret = forms.BooleanField(
        required=False, widget=UnfoldBooleanSwitchWidget, label="Ask for no secret in the body any more"
    )

    class Meta:
        model = AlertSource
        fields = (
            "name", "enabled", "default_timeframe", "accept_missing_timestamp", "dedupe_window_seconds", "paths",
            "requests_per_minute", "largest_body_bytes", "allowed_networks",
        )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["allowed_networks"] = "\n".join(
            network.removesuffix("/32").removesuffix("/128") for network in self.instance.allowed_networks or []
        )

    def clean(self) -> dict[str, Any]:
        """Take the lines apart, and refuse a secret that is none."""
        said = super().clean() or self.cleaned_data
        networks = str(said.get("allowed_networks") or "").replace(",", " ").split()
        if said.get("only_tradingview"):
            networks += [network for network in TRADINGVIEW if network not in networks]
        said["allowed_networks"] = networks
        if said.get("new_body_secret"):
            try:
                set_body_secret(self.instance, said["new_body_secret"], save=False)
            except UnusableSecret as error:
                self.add_error("new_body_secret", str(error))
        elif said.get("no_body_secret"):
            set_body_secret(self.instance, "", save=False)
        return said


class OverlapForm(forms.Form):
    """For how long the old token is still to work."""

    hours = forms.IntegerField(
        min_value=0,
        max_value=LONGEST_OVERLAP_HOURS,
        initial=24,
        widget=UnfoldAdminIntegerFieldWidget,
        label="The old token works for so many hours more",
        help_text=f"0 to {LONGEST_OVERLAP_HOURS}. 0 when it has leaked: alerts to the old address are lost from then on.",
    )


@admin.register(AlertSource)
class AlertSourceAdmin(ModelAdmin):  # type: ignore[misc]
    form = SourceForm
    list_display = (
        "name",
        "enabled",
        "default_timeframe",
        "accept_missing_timestamp",
        "requests_per_minute",
        "refused",
    )
    list_filter = ("enabled",)
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        ("Source", {"fields": ("name", "enabled")}),
        (
            "Where its alerts are silent",
            {"fields": ("default_timeframe", "accept_missing_timestamp", "paths", "dedupe_window_seconds")},
        ),
        ("How much it may send", {"fields": ("requests_per_minute", "largest_body_bytes")}),
        (
            "Who may send",
            {
                "fields": (
                    "allowed_networks", "only_tradingview", "new_body_secret", "no_body_secret", "body_secret", "token",
                    "refused",
                )
            },
        ),
    )  # fmt: skip
    actions_detail = ("rotate_token",)

    def get_readonly_fields(self, request: HttpRequest, obj: AlertSource | None = None) -> tuple[str, ...]:
        """The name is part of every signal's hash: once given, it stays."""
        told = ("body_secret", "token", "refused")
        return ("name", *told) if obj else told

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A source is switched off, not deleted: its signals name it."""
        return False

    def save_model(self, request: HttpRequest, obj: AlertSource, form: Any, change: bool) -> None:
        """Save a source; a new one gets its token, which nobody but the answer to this request will see."""
        if change:
            # by name: what counts requests goes on while somebody has the page open
            obj.save(update_fields=[*(set(SourceForm.Meta.fields) - {"name"}), "body_secret_sha256"])
            return
        obj.plain_token = new_token()
        obj.token_sha256 = hash_of_token(obj.plain_token)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: AlertSource, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new address and the messages to paste, once."""
        return self._address_page(request, obj, f"{obj.name} may now send alerts")

    @act("New token", permissions=["change"], url_path="new-token")
    def rotate_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the source a new token; the old one works for as long as the operator says."""
        source = self.get_object(request, object_id)
        if source is None:
            raise Http404
        form = OverlapForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            hours = form.cleaned_data["hours"]
            source.plain_token = new_token()
            replace_token(source, source.plain_token, old_works_for=timedelta(hours=hours))
            self.log_change(request, source, f"New token; the old one works for {hours} hours more.")
            until = f"The old address works until {source.previous_token_until:%Y-%m-%d %H:%M} UTC." if hours else ""
            return self._address_page(
                request, source, f"{source.name} has a new address", until or "The old one is gone."
            )
        context = {
            **self.admin_site.each_context(request),
            "title": f"New token for {source.name}",
            "source": source,
            "form": form,
        }
        return TemplateResponse(request, "webhooks/new_token.html", context)

    @column("token")
    def token(self, source: AlertSource) -> str:
        """What is known of the token: nothing but its hash."""
        if source.pk is None or source.previous_token_until is None or source.previous_token_until < timezone.now():
            return "shown once, when it is made"
        return (
            f"shown once, when it is made; the one before works until {source.previous_token_until:%Y-%m-%d %H:%M} UTC"
        )

    @column("secret asked for in the body")
    def body_secret(self, source: AlertSource) -> str:
        return "yes" if source.body_secret_sha256 else "no"

    @column("refused requests")
    def refused(self, source: AlertSource) -> str:
        """Requests that knew the token and nothing more: not kept, counted."""
        if not source.refused_requests:
            return "none"
        last = f"{source.last_refused_at:%Y-%m-%d %H:%M:%S}" if source.last_refused_at else ""
        return f"{source.refused_requests}, the last one {last} UTC: {source.last_refusal}"

    def _address_page(self, request: HttpRequest, source: AlertSource, heading: str, more: str = "") -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Source {source.name}",
            "source": source,
            "heading": heading,
            "more": more,
            "address": request.build_absolute_uri(reverse("webhooks:tradingview", args=[source.plain_token])),
            "strategy_alert": STRATEGY_ALERT,
            "indicator_alert": INDICATOR_ALERT,
        }
        return TemplateResponse(request, "webhooks/source_created.html", context)
