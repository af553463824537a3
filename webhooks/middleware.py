"""The short way of an alert through Django: past everything that concerns people with browsers."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from webhooks.urls import ADDRESS, receive


class AlertsFirstMiddleware:
    """Calls the webhook's view at once: an alert has no session, no user, no form and no page.

    It stands behind what concerns every request: the headers of answers, trusted proxies, https. The address stays in
    ``urls.py`` as well, for whoever asks for it by name.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = request.path_info.removeprefix(ADDRESS).removesuffix("/")
        if not token or not request.path_info.startswith(ADDRESS):
            return self.get_response(request)
        request.get_host()  # refuses hosts that are not ours, as CommonMiddleware does
        return receive(request, token=token)
