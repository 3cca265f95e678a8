"""The server of the page: its addresses, one fusing at a time, and an end that leaves no files."""

from __future__ import annotations

import asyncio
import secrets
import socket
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from fusionkit.app.choices import Choices
from fusionkit.app.fuse_job import FuseJob, Order
from fusionkit.app.gallery import Gallery
from fusionkit.app.request_checks import RequestChecks, TooLarge, too_large
from fusionkit.app.uploads import Limits, Upload, describe_set, keep_uploads, small_picture
from fusionkit.app.workroom import Gone, SourceSet, Workroom
from fusionkit.bench.report.page_assets import page_asset, page_script
from fusionkit.errors import FusionkitError, UsageError

__all__ = ["AppServer", "serve"]

_SCRIPTS = ("sources", "form", "results", "app")
_SHARED = ("dom", "theme", "stage", "comparison")
_WAITING = 20
_SWEEP_SECONDS = 30.0


class AppServer:
    """The page's application and what it keeps.

    Args:
        choices: what can be asked for.
        limits: limits of an upload.
        keep_minutes: time after which images that are not used are deleted.

    Attributes:
        app: the ASGI application. When it ends, its temporary files are deleted.
        room: the temporary files.
    """

    def __init__(self, choices: Choices, *, limits: Limits | None = None, keep_minutes: float = 60) -> None:
        self.choices = choices
        self.limits = limits or Limits()
        self.room = Workroom(60 * keep_minutes)
        self.gallery = Gallery(self.room)
        self._fusing = ThreadPoolExecutor(1, thread_name_prefix="fusing")
        assets = {
            "/": (page_asset("app.html", package="fusionkit.app"), "text/html"),
            "/app.css": (page_asset("style.css") + page_asset("app.css", package="fusionkit.app"), "text/css"),
            "/app.js": (page_script(self._scripts()), "text/javascript"),
        }
        one, job = "/api/sets/{set}", "/api/sets/{set}/jobs/{job}"
        self.app = Starlette(
            routes=[
                *(Route(path, _static(text, kind)) for path, (text, kind) in assets.items()),
                Route("/api/choices", self.describe_choices),
                Route("/api/gallery", self.describe_gallery),
                Route("/api/gallery/{number:int}", self.take_from_gallery, methods=["POST"]),
                Route("/api/gallery/{number:int}/{source:int}.png", self.gallery_picture),
                Route("/api/sets", self.upload, methods=["POST"]),
                Route(one, self.forget, methods=["DELETE"]),
                Route(f"{one}/source/{{number:int}}.png", self.source_picture),
                Route(f"{one}/jobs", self.fuse, methods=["POST"]),
                Route(job, self.describe_job),
                Route(job, self.cancel, methods=["DELETE"]),
                Route(f"{job}/files/{{name}}", self.file),
                Route(f"{job}/all.zip", self.everything),
            ],
            middleware=[Middleware(RequestChecks, most=self.limits.bytes)],
            exception_handlers=self._handlers(),
            lifespan=self._lifespan,
        )

    def describe_choices(self, request: Request) -> Response:
        """Tell what can be chosen, and the limits."""
        limits = {"files": self.limits.files, "megabytes": self.limits.megabytes}
        return JSONResponse({**self.choices.describe(), "limits": limits, "keep_minutes": self.room.keep_seconds / 60})

    def describe_gallery(self, request: Request) -> Response:
        """List the scenes of the sample."""
        return JSONResponse(self.gallery.describe())

    def gallery_picture(self, request: Request) -> Response:
        """Send the small picture of a source of the sample."""
        return FileResponse(self.gallery.picture(request.path_params["number"], request.path_params["source"]))

    def take_from_gallery(self, request: Request) -> Response:
        """Make a set of sources of a scene of the sample."""
        taken, task = self.gallery.take(request.path_params["number"])
        for number in range(len(taken.sources)):
            small = self.gallery.picture(request.path_params["number"], number)
            small_picture(taken, number).write_bytes(small.read_bytes())
        return JSONResponse(describe_set(taken, self.choices.tasks, task))

    async def upload(self, request: Request) -> Response:
        """Store the images of an upload as a set of sources."""
        self.room.sweep()
        async with request.form(max_files=self.limits.files, max_fields=self.limits.files) as form:
            fields = form.multi_items()
            uploads = [
                Upload(field, value.filename or "", value.file)
                for field, value in fields
                if isinstance(value, UploadFile)
            ]
            labels = {f"source{field[5:]}": value for field, value in fields if isinstance(value, str)}
            kept = await run_in_threadpool(keep_uploads, self.room, uploads, labels)
        return JSONResponse(await run_in_threadpool(describe_set, kept, self.choices.tasks))

    def source_picture(self, request: Request) -> Response:
        """Send the small picture of a source."""
        found = self._set(request)
        number = request.path_params["number"]
        if number >= len(found.sources):
            raise Gone("there is no such source")
        return FileResponse(small_picture(found, number))

    def forget(self, request: Request) -> Response:
        """Delete a set and everything that was made of it."""
        self.room.delete(request.path_params["set"])
        return JSONResponse({})

    async def fuse(self, request: Request) -> Response:
        """Queue a fusing."""
        found = self._set(request)
        try:
            order = Order.model_validate_json(await request.body())
        except ValidationError as error:
            fault = error.errors()[0]
            raise UsageError(f"{'.'.join(map(str, fault['loc'])) or 'request'}: {fault['msg']}") from None
        waiting = sum(not job.finished for kept in self.room.sets.values() for job in kept.jobs.values())
        if waiting >= _WAITING:
            raise UsageError(f"{waiting} fusings are waiting already: let them end first")
        job = FuseJob(secrets.token_urlsafe(8), found, order, self.choices)
        found.jobs[job.key] = job
        self._fusing.submit(job.run)
        return JSONResponse(job.describe())

    def describe_job(self, request: Request) -> Response:
        """Tell how far a fusing is, and what it made."""
        return JSONResponse(self._job(request).describe())

    def cancel(self, request: Request) -> Response:
        """End a fusing before its next image."""
        job = self._job(request)
        job.cancel()
        return JSONResponse(job.describe())

    def file(self, request: Request) -> Response:
        """Send an image or the record of a fusing, by the name that it was given."""
        job, name = self._job(request), request.path_params["name"]
        if name not in job.files:
            raise Gone("there is no such result")
        path = job.files[name]
        if name == "record" or name.endswith(".result"):
            return FileResponse(path, filename=path.name)
        return FileResponse(path)

    def everything(self, request: Request) -> Response:
        """Send the results, maps and record of a fusing in one file."""
        job = self._job(request)
        if job.state != "done":
            raise Gone("there is no result yet")
        file = job.folder.with_suffix(".zip")
        with zipfile.ZipFile(file, "w") as pack:
            for made in sorted(job.folder.rglob("*")):
                if made.is_file() and "shown" not in made.relative_to(job.folder).parts:
                    pack.write(made, made.relative_to(job.folder))
        return FileResponse(file, filename="fused.zip")

    def _set(self, request: Request) -> SourceSet:
        return self.room.find(request.path_params["set"])

    def _job(self, request: Request) -> FuseJob:
        found = self._set(request).jobs.get(request.path_params["job"])
        if not isinstance(found, FuseJob):
            raise Gone("there is no such fusing")
        return found

    @staticmethod
    def _scripts() -> list[str]:
        shared = [page_asset(f"{name}.js") for name in _SHARED]
        return shared + [page_asset(f"{name}.js", package="fusionkit.app") for name in _SCRIPTS]

    def _handlers(self) -> Mapping[Any, Callable[[Request, Exception], Response]]:
        megabytes = self.limits.megabytes

        def fault(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": " ".join(str(error).split())}, 404 if isinstance(error, Gone) else 400)

        def large(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": too_large(megabytes)}, 413)

        def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            return JSONResponse({"error": str(error.detail)}, error.status_code)

        return {FusionkitError: fault, TooLarge: large, HTTPException: refused}

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(_SWEEP_SECONDS)
                await run_in_threadpool(self.room.sweep)

        sweeping = asyncio.create_task(sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
            self.close()

    def close(self) -> None:
        """End what is fused, and delete all temporary files."""
        for kept in self.room.sets.values():
            for job in kept.jobs.values():
                job.cancel()
        # What runs ends with its image: it would write into folders that are gone.
        self._fusing.shutdown(wait=True, cancel_futures=True)
        self.room.close()


def _static(text: str, kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return Response(text, media_type=kind)

    return answer


def serve(server: AppServer, *, port: int, ready: Callable[[str], None]) -> None:
    """Answer on 127.0.0.1 until the process is ended.

    Args:
        server: what answers.
        port: port to listen at; 0 for any that is free.
        ready: called with the address when it can be opened.

    Raises:
        fusionkit.errors.UsageError: the port is taken, or not allowed.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        server.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--port {port}: cannot be listened at ({reason}): choose another, or 0 for any") from None

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(f"http://127.0.0.1:{listening.getsockname()[1]}/")

    config = uvicorn.Config(
        server.app, log_level="warning", access_log=False, server_header=False, lifespan="on", ws="none"
    )
    with listening:
        Announcing(config).run(sockets=[listening])
