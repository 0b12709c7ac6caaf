"""The staff's service about templates of fallback texts."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.admin.templates import StoredTemplates
from gateway.servicer import principal
from headgate.api.gateway.v1 import template_admin_pb2 as pb
from headgate.api.gateway.v1 import template_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class TemplateAdminServicer(pb_grpc.TemplateAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; every change leaves an audit entry."""

    def __init__(self, templates: StoredTemplates) -> None:
        self._templates = templates

    async def PutTemplate(
        self, request: pb.PutTemplateRequest, context: Context
    ) -> pb.PutTemplateResponse:
        return await self._templates.put(request, principal())

    async def DeleteTemplate(
        self, request: pb.DeleteTemplateRequest, context: Context
    ) -> pb.DeleteTemplateResponse:
        return await self._templates.delete(request, principal())

    async def GetTemplate(
        self, request: pb.GetTemplateRequest, context: Context
    ) -> pb.GetTemplateResponse:
        return await self._templates.get(request)

    async def ListTemplates(
        self, request: pb.ListTemplatesRequest, context: Context
    ) -> pb.ListTemplatesResponse:
        return await self._templates.list(request)

    async def ListTemplateRevisions(
        self, request: pb.ListTemplateRevisionsRequest, context: Context
    ) -> pb.ListTemplateRevisionsResponse:
        return await self._templates.list_revisions(request)

    async def PreviewTemplate(
        self, request: pb.PreviewTemplateRequest, context: Context
    ) -> pb.PreviewTemplateResponse:
        return await self._templates.preview(request)
