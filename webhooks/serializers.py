"""What the webhook answers, for the API's description."""

from rest_framework import serializers


class AlertAnswerSerializer(serializers.Serializer[object]):
    """A stored signal; or ``signal_id`` is null and ``code`` says why: an exit alert, or one that waits for the database."""

    signal_id = serializers.UUIDField(allow_null=True)
    signal_hash = serializers.RegexField(
        r"^[0-9a-f]{64}$",
        required=False,
        allow_null=True,
        help_text="Null for an alert that waits and carries no time of its own.",
    )
    duplicate = serializers.BooleanField(required=False, help_text="An earlier request had stored this signal.")
    code = serializers.ChoiceField(choices=["exit_alert", "spooled"], required=False)


class AlertProblemSerializer(serializers.Serializer[object]):
    """One reason why an alert is no signal."""

    field = serializers.CharField(help_text="symbol, direction, timeframe, timestamp or body")
    code = serializers.CharField()
    message = serializers.CharField()
    found = serializers.CharField(allow_null=True, help_text="What was found, as JSON text.")
    path = serializers.CharField(allow_null=True, help_text="Where it was found.")
    accepted = serializers.CharField()
    example = serializers.CharField()


class AlertProblemsSerializer(serializers.Serializer[object]):
    """A problem document (RFC 9457) with one entry for each field."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = AlertProblemSerializer(many=True)  # type: ignore[assignment]
