"""Django middleware: a request is served only with a good token (RFC 6750)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from tokenmint_client.bearer import enter
from tokenmint_client.errors import VerificationError
from tokenmint_client.refusals import Refusal, presented, refused, require
from tokenmint_client.types import VerifiedToken
from tokenmint_client.verifier import AsyncVerifier, Verifier


class TokenMiddleware:
    """Serves a request only with a good token. `request.auth` and `current_token()` return it.

    The name is the one that Django REST framework has for it. `request.user` stays that of Django's own sessions.
    Settings: ``TOKENMINT_VERIFIER``, a :class:`Verifier`, or under ASGI an :class:`AsyncVerifier`;
    ``TOKENMINT_SCOPES``, what each request needs; ``TOKENMINT_PUBLIC``, paths that need no token, exactly as they are
    requested.

    Raises:
        ImproperlyConfigured: there is no verifier, or under WSGI one for asyncio.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._verifier: Any = getattr(settings, "TOKENMINT_VERIFIER", None)
        self._scopes = tuple(getattr(settings, "TOKENMINT_SCOPES", ()))
        self._public = frozenset(getattr(settings, "TOKENMINT_PUBLIC", ()))
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        if not isinstance(self._verifier, (Verifier, AsyncVerifier) if self._is_async else Verifier):
            raise ImproperlyConfigured("TOKENMINT_VERIFIER: expected a Verifier, or under ASGI an AsyncVerifier")

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        if request.path not in self._public:
            try:
                self._accept(request, self._verify(presented(_authorizations(request))))
            except Refusal as refusal:
                return _answer_of(refusal)
        response: HttpResponseBase = self._get_response(request)
        return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if request.path not in self._public:
            try:
                self._accept(request, await self._verify_async(presented(_authorizations(request))))
            except Refusal as refusal:
                return _answer_of(refusal)
        response: HttpResponseBase = await self._get_response(request)
        return response

    def _verify(self, sent: str) -> VerifiedToken:
        try:
            token: VerifiedToken = self._verifier.verify(sent)
        except VerificationError as error:
            raise refused(error) from None
        return token

    async def _verify_async(self, sent: str) -> VerifiedToken:
        if isinstance(self._verifier, Verifier):
            return await asyncio.to_thread(self._verify, sent)  # it may fetch the key set
        try:
            token: VerifiedToken = await self._verifier.verify(sent)
        except VerificationError as error:
            raise refused(error) from None
        return token

    def _accept(self, request: HttpRequest, token: VerifiedToken) -> None:
        require(token, self._scopes)
        request.auth = token
        enter(token)


def _authorizations(request: HttpRequest) -> list[str]:
    sent = request.META.get("HTTP_AUTHORIZATION")
    return [] if sent is None else [sent]


def _answer_of(refusal: Refusal) -> JsonResponse:
    return JsonResponse({"error": refusal.message}, status=refusal.status, headers=refusal.headers)
