"""Objects in buckets by the names and answers of Cloud Storage's JSON API: the part that people and
the console need to bring a file, to look around and to take results home.

An object appears complete or not at all, however it was sent. ``gs://`` buckets alone are served,
through the resolver that every other URI takes.
"""

# Annotations are read at run time here, so they are not strings.

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Annotated, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response, StreamingResponse

from rowcast.access.guard import require_data
from rowcast.access.places import object_place
from rowcast.core.plan import InputObject
from rowcast.errors import FailedPrecondition, InvalidRequest, NotFound, ResourceExhausted
from rowcast.server.body import parse_object, read_body
from rowcast.server.routing import By, Wired
from rowcast.server.transfers import Arrived, Transfers
from rowcast.storage.checksum import crc32c
from rowcast.storage.objects import BUCKET_NAME, UNREADABLE, Objects

BUCKETS = "/storage/v1/b"
OBJECTS = BUCKETS + "/{bucket}/o"
ONE = OBJECTS + "/{name:path}"
UPLOAD = "/upload" + OBJECTS
COPY = OBJECTS + "/{name:path}"
TO = "/b/{to}/o/{into:path}"
MOST_COMPOSED = 32
MOST_SUMMED = 64 << 20
"""An object of more bytes is shown without its sums, which take a reading of it."""
CHUNK = 1 << 20
MOST_LISTED = 10_000
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


async def objects(wired: Wired) -> Objects:
    """Find where objects are."""
    return wired.objects


Stored = Annotated[Objects, Depends(objects)]


async def transfers(request: Request) -> Transfers:
    """Find where uploads wait until they are whole."""
    found = request.app.state.transfers
    if not isinstance(found, Transfers):
        raise TypeError(found)
    return found


Arriving = Annotated[Transfers, Depends(transfers)]


class NotMet(FailedPrecondition):
    """The object is not what the caller takes it to be; its HTTP code is 412."""


class DoorRoute(APIRoute):
    """Answers a condition that is not met with the code that Cloud Storage has for it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See ``APIRoute``."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except NotMet as error:
                said = {"message": str(error), "reason": "conditionNotMet", "domain": "global"}
                body = {"error": {"code": 412, "message": str(error), "errors": [said]}}
                return JSONResponse(body, 412)

        return answer


router = APIRouter(include_in_schema=False, route_class=DoorRoute)


@router.get(BUCKETS, operation_id="storage.buckets.list")
def list_buckets(stored: Stored) -> dict[str, Any]:
    """List the buckets."""
    return {"kind": "storage#buckets", "items": [_bucket(name) for name in stored.buckets()]}


@router.post(BUCKETS, operation_id="storage.buckets.create")
async def insert_bucket(request: Request, wired: Wired, stored: Stored) -> dict[str, Any]:
    """Make a bucket."""
    body = parse_object(await read_body(request, wired.options.max_request_bytes))
    name = body.get("name")
    if not isinstance(name, str) or not BUCKET_NAME.fullmatch(name) or ".." in name:
        raise InvalidRequest("name: is required, with letters, digits, '-', '_' and '.'.")
    await to_thread.run_sync(stored.make_bucket, name)
    return _bucket(name)


@router.get(BUCKETS + "/{bucket}", operation_id="storage.buckets.get")
def get_bucket(bucket: str, stored: Stored) -> dict[str, Any]:
    """Show a bucket."""
    try:
        stored.need_bucket(f"gs://{bucket}/")
    except FailedPrecondition as error:
        raise NotFound(f"The bucket {bucket[:100]!r} does not exist.") from error
    return _bucket(bucket)


@router.get(OBJECTS, operation_id="storage.objects.list")
def list_objects(bucket: str, stored: Stored, request: Request) -> dict[str, Any]:
    """List the objects below a prefix; with a delimiter of ``/``, those of one folder."""
    prefix = request.query_params.get("prefix", "")
    delimiter = request.query_params.get("delimiter", "")
    if delimiter not in ("", "/"):
        raise InvalidRequest("delimiter: must be '/'.")
    stored.need_bucket(f"gs://{bucket}/")
    if not delimiter:
        try:
            found = stored.list(f"gs://{bucket}/{_literal(prefix)}**")
        except NotFound:
            found = []
        return _listed(bucket, found, [], request)
    folder, _, start = prefix.rpartition("/")
    place = f"{folder}/" if folder else ""
    items, prefixes = [], []
    for name in stored.names(f"gs://{bucket}/{place}"):
        if not name.startswith(start) or name.startswith("."):
            continue
        try:
            items.append(stored.stat(f"gs://{bucket}/{place}{name}"))
        except NotFound:
            prefixes.append(f"{place}{name}/")
    return _listed(bucket, items, prefixes, request)


@router.get("/download" + ONE, operation_id="storage.objects.get")
@router.get(ONE, operation_id="storage.objects.get")
def get_object(bucket: str, name: str, stored: Stored, request: Request) -> Response:
    """Show an object, or with ``alt=media`` its bytes, or a range of them."""
    found = stored.stat(f"gs://{bucket}/{name}")
    _check_generation(found, dict(request.query_params))
    if request.query_params.get("alt") != "media":
        if found.size <= MOST_SUMMED:
            return JSONResponse(_summed(request, stored, bucket, found.uri))
        return JSONResponse(_object(request, bucket, found))
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    first = int(asked[1]) if asked else 0
    end = min(int(asked[2]) + 1, found.size) if asked and asked[2] else found.size
    if first > end or (asked and first >= found.size):
        return Response(status_code=416, headers={"Content-Range": f"bytes */{found.size}"})
    headers = {
        "Content-Length": str(end - first),
        "Accept-Ranges": "bytes",
        "X-Goog-Generation": _generation(found),
        "ETag": json.dumps(found.version),
    }
    if asked:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{found.size}"
    return StreamingResponse(
        _pieces(stored, found, first, end),
        206 if asked else 200,
        headers,
        "application/octet-stream",
    )


@router.delete(ONE, operation_id="storage.objects.delete")
def delete_object(bucket: str, name: str, stored: Stored, request: Request) -> Response:
    """Delete an object."""
    found = stored.stat(f"gs://{bucket}/{name}")
    _check_generation(found, dict(request.query_params))
    stored.delete(f"gs://{bucket}/{name}")
    return Response(status_code=204)


@router.post(UPLOAD, operation_id="storage.objects.create")
async def upload_object(
    bucket: str, stored: Stored, request: Request, wired: Wired, by: By, arriving: Arriving
) -> Response:
    """Write an object, replacing one of the name if the caller may delete it.

    The body is the object (``uploadType=media``), or its description and then it (``multipart``),
    or its description alone, and it follows in chunks (``resumable``).
    """
    kind, asked = request.query_params.get("uploadType", "media"), dict(request.query_params)
    if kind == "resumable" and "upload_id" in asked:
        return await upload_chunk(stored, request, wired, by, arriving)
    if kind == "resumable":
        id_ = await arriving.begin(request)
        named = asked.get("name") or arriving.metadata(id_).get("name")
        await _may_write(wired, by, stored, bucket, named, asked)
        return Response(headers={"Location": str(request.url.include_query_params(upload_id=id_))})
    if kind == "multipart":
        arrived = await arriving.receive_parts(request)
        return await _place(request, wired, by, stored, arrived, asked)
    if kind != "media":
        raise InvalidRequest("uploadType: must be media, multipart or resumable.")
    _, uri = await _may_write(wired, by, stored, bucket, asked.get("name"), asked)
    announced = request.headers.get("content-length", "0")
    free = await to_thread.run_sync(stored.free_bytes, f"gs://{bucket}/")
    if announced.isdigit() and int(announced) > free:
        raise ResourceExhausted(f"{uri} has {announced} bytes, but there is room for {free}.")
    stack = ExitStack()
    file = await to_thread.run_sync(stack.enter_context, stored.create(uri))
    try:
        async for chunk in _chunks(request.stream()):
            await to_thread.run_sync(file.write, chunk)
    except BaseException as error:
        stack.__exit__(type(error), error, error.__traceback__)
        raise
    await to_thread.run_sync(stack.close)
    return JSONResponse(await to_thread.run_sync(_summed, request, stored, bucket, uri))


@router.put(UPLOAD, operation_id="storage.objects.create")
async def upload_chunk(
    stored: Stored, request: Request, wired: Wired, by: By, arriving: Arriving
) -> Response:
    """Take a chunk of an object; with the last one it appears."""
    id_ = request.query_params.get("upload_id", "")
    asked = arriving.asked(id_)
    arrived = await arriving.proceed(request, id_)
    if isinstance(arrived, Response):
        return arrived
    return await _place(request, wired, by, stored, arrived, asked)


@router.post(OBJECTS + "/{name:path}/compose", operation_id="storage.objects.compose")
async def compose(
    bucket: str, name: str, stored: Stored, request: Request, wired: Wired, by: By
) -> Response:
    """Write an object of others, one behind the other."""
    body = parse_object(await read_body(request, wired.options.max_request_bytes))
    sources = [str(one.get("name", "")) for one in body.get("sourceObjects") or []]
    if not 1 <= len(sources) <= MOST_COMPOSED:
        raise InvalidRequest(f"sourceObjects: names 1 to {MOST_COMPOSED} objects.")
    uris = [f"gs://{bucket}/{source}" for source in sources]
    await to_thread.run_sync(lambda: require_data(wired.guard, by, reads=uris))
    asked = dict(request.query_params)
    _, uri = await _may_write(wired, by, stored, bucket, name, asked)
    await to_thread.run_sync(_join, stored, uris, uri)
    return JSONResponse(await to_thread.run_sync(_summed, request, stored, bucket, uri))


@router.post(COPY + "/copyTo" + TO, operation_id="storage.objects.copy")
async def copy(to: str, stored: Stored, request: Request, wired: Wired, by: By) -> Response:
    """Write an object that is like another."""
    made = await _copied(stored, request, wired, by)
    return JSONResponse(_object(request, to, made))


@router.post(COPY + "/rewriteTo" + TO, operation_id="storage.objects.copy")
async def rewrite(to: str, stored: Stored, request: Request, wired: Wired, by: By) -> Response:
    """Copy in one step, as an answer that could have been one of several."""
    made = await _copied(stored, request, wired, by)
    size = str(made.size)
    return JSONResponse(
        {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": size,
            "objectSize": size,
            "done": True,
            "resource": _object(request, to, made),
        }
    )


async def _copied(stored: Objects, request: Request, wired: Wired, by: By) -> InputObject:
    at = request.path_params
    source = object_place(at["bucket"], at["name"])
    await to_thread.run_sync(lambda: require_data(wired.guard, by, reads=[source]))
    asked = dict(request.query_params)
    _, uri = await _may_write(wired, by, stored, at["to"], at["into"], asked)
    await to_thread.run_sync(_join, stored, [f"gs://{at['bucket']}/{at['name']}"], uri)
    return await to_thread.run_sync(stored.stat, uri)


async def _may_write(
    wired: Wired, by: By, stored: Objects, bucket: str, name: Any, asked: dict[str, str]
) -> tuple[str, str]:
    """See that an object may be written, or written over; its name and URI.

    Raises
    ------
    InvalidRequest, PermissionDenied, NotMet
        If it has no name, is another's, or is not what the caller takes it to be.
    """
    if not isinstance(name, str) or not name or name.endswith("/"):
        raise InvalidRequest("name: is required, and names an object.")
    uri = f"gs://{bucket}/{name}"
    found = await to_thread.run_sync(_found, stored, uri)
    _check_generation(found, asked)
    if found is not None and not by.is_owner:
        place = object_place(bucket, name)
        await to_thread.run_sync(wired.guard.require, by, "storage.objects.delete", place)
    return name, uri


async def _place(
    request: Request, wired: Wired, by: By, stored: Objects, arrived: Arrived, asked: dict[str, str]
) -> Response:
    """Make an object of an upload that is whole."""
    bucket = str(request.path_params["bucket"])
    try:
        named = asked.get("name") or arrived.metadata.get("name")
        name, uri = await _may_write(wired, by, stored, bucket, named, asked)
        if not by.is_owner:
            place = object_place(bucket, name)
            await to_thread.run_sync(wired.guard.require, by, "storage.objects.create", place)
        await to_thread.run_sync(_write, stored, uri, arrived)
    finally:
        arrived.path.unlink(missing_ok=True)
    return JSONResponse(await to_thread.run_sync(_summed, request, stored, bucket, uri))


def _summed(request: Request, stored: Objects, bucket: str, uri: str) -> dict[str, Any]:
    """Show an object with the sums by which clients check it."""
    found = stored.stat(uri)
    digest = hashlib.md5(usedforsecurity=False)

    def pieces() -> Iterator[bytes]:
        for piece in _pieces(stored, found, 0, found.size):
            digest.update(piece)
            yield piece

    total = crc32c(pieces())
    return _object(request, bucket, found) | {
        "crc32c": base64.b64encode(total).decode(),
        "md5Hash": base64.b64encode(digest.digest()).decode(),
    }


def _write(stored: Objects, uri: str, arrived: Arrived) -> None:
    with arrived.path.open("rb") as file, stored.create(uri) as out:
        file.seek(arrived.start)
        left = arrived.stop - arrived.start
        while left and (piece := file.read(min(CHUNK, left))):
            out.write(piece)
            left -= len(piece)


def _join(stored: Objects, sources: list[str], uri: str) -> None:
    found = [stored.stat(source) for source in sources]
    with stored.create(uri) as out:
        for one in found:
            for piece in _pieces(stored, one, 0, one.size):
                out.write(piece)


def _check_generation(found: InputObject | None, asked: dict[str, str]) -> None:
    """Compare an object with what the caller takes it to be. Raises NotMet."""
    now = "0" if found is None else _generation(found)
    if asked.get("ifGenerationMatch", now) != now or asked.get("ifGenerationNotMatch") == now:
        raise NotMet("At least one of the pre-conditions you specified did not hold.")


def _generation(found: InputObject) -> str:
    """A number that changes with an object."""
    digest = hashlib.sha256(found.version.encode()).digest()
    return str(int.from_bytes(digest[:7], "big") + 1)


async def _chunks(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gather what arrives into larger pieces."""
    gathered = bytearray()
    async for piece in stream:
        gathered += piece
        if len(gathered) >= CHUNK:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _found(stored: Objects, uri: str) -> InputObject | None:
    try:
        return stored.stat(uri)
    except NotFound:
        return None


def _pieces(stored: Objects, found: InputObject, first: int, end: int) -> Iterator[bytes]:
    reader = stored.open(found)
    try:
        for start in range(first, end, CHUNK):
            yield reader.read_range(start, min(start + CHUNK, end))
    finally:
        reader.close()


def _literal(prefix: str) -> str:
    """Take the meaning of patterns from a prefix."""
    return re.sub(r"([*?\[])", r"[\1]", prefix)


def _listed(
    bucket: str, found: list[InputObject], prefixes: list[str], request: Request
) -> dict[str, Any]:
    """Show a page of objects and folders, in the order of their names."""
    asked = request.query_params
    start = f"gs://{bucket}/"
    named: dict[str, InputObject | None] = dict.fromkeys(prefixes)
    named |= {i.uri.removeprefix(start): i for i in found if i.version != UNREADABLE}
    after = base64.urlsafe_b64decode(asked.get("pageToken", "")).decode("utf-8", "replace")
    names = sorted(name for name in named if name > after)
    wanted = asked.get("maxResults", "")
    most = min(int(wanted), MOST_LISTED) if wanted.isdigit() and int(wanted) else MOST_LISTED
    page = names[:most]
    items = [_object(request, bucket, item) for name in page if (item := named[name]) is not None]
    folders = [name for name in page if named[name] is None]
    said: dict[str, Any] = {"kind": "storage#objects", "items": items}
    if folders:
        said["prefixes"] = folders
    if len(names) > most:
        said["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
    return said


def _bucket(name: str) -> dict[str, Any]:
    return {"kind": "storage#bucket", "id": name, "name": name}


def _object(request: Request, bucket: str, found: InputObject) -> dict[str, Any]:
    name = found.uri.removeprefix(f"gs://{bucket}/")
    here, place = str(request.base_url).rstrip("/"), OBJECTS.format(bucket=quote(bucket))
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}",
        "bucket": bucket,
        "name": name,
        "size": str(found.size),
        "generation": _generation(found),
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "etag": json.dumps(found.version),
        "mediaLink": f"{here}/download{place}/{quote(name, safe='')}?alt=media",
    }
