"""Objects in buckets by the names and answers of Cloud Storage's JSON API: the part that people and
the console need to bring a file, to look around and to take results home.

Only whole objects are written, in one request (``uploadType=media``); an object appears complete or
not at all. ``gs://`` buckets alone are served, through the resolver that every other URI takes.
"""

# Annotations are read at run time here, so they are not strings.

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Annotated, Any
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rowcast.access.places import object_place
from rowcast.core.plan import InputObject
from rowcast.errors import InvalidRequest, NotFound, ResourceExhausted
from rowcast.server.body import parse_object, read_body
from rowcast.server.routing import By, Wired
from rowcast.storage.objects import BUCKET_NAME, UNREADABLE, Objects

BUCKETS = "/storage/v1/b"
OBJECTS = BUCKETS + "/{bucket}/o"
ONE = OBJECTS + "/{name:path}"
UPLOAD = "/upload" + OBJECTS
CHUNK = 1 << 20
MOST_LISTED = 10_000
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")

router = APIRouter(include_in_schema=False)


async def objects(wired: Wired) -> Objects:
    """Find where objects are."""
    return wired.objects


Stored = Annotated[Objects, Depends(objects)]


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
        return _listed(bucket, found, [])
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
    return _listed(bucket, items, prefixes)


@router.get(ONE, operation_id="storage.objects.get")
def get_object(bucket: str, name: str, stored: Stored, request: Request) -> Response:
    """Show an object, or with ``alt=media`` its bytes, or a range of them."""
    found = stored.stat(f"gs://{bucket}/{name}")
    if request.query_params.get("alt") != "media":
        return JSONResponse(_object(bucket, found))
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    first = int(asked[1]) if asked else 0
    end = min(int(asked[2]) + 1, found.size) if asked and asked[2] else found.size
    if first > end or (asked and first >= found.size):
        return Response(status_code=416, headers={"Content-Range": f"bytes */{found.size}"})
    headers = {"Content-Length": str(end - first), "Accept-Ranges": "bytes"}
    if asked:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{found.size}"
    return StreamingResponse(
        _pieces(stored, found, first, end),
        206 if asked else 200,
        headers,
        "application/octet-stream",
    )


@router.delete(ONE, operation_id="storage.objects.delete")
def delete_object(bucket: str, name: str, stored: Stored) -> Response:
    """Delete an object."""
    stored.stat(f"gs://{bucket}/{name}")
    stored.delete(f"gs://{bucket}/{name}")
    return Response(status_code=204)


@router.post(UPLOAD, operation_id="storage.objects.create")
async def upload_object(
    bucket: str, stored: Stored, request: Request, wired: Wired, by: By
) -> dict[str, Any]:
    """Write the body as an object, replacing one of the name if the caller may delete it."""
    name = request.query_params.get("name", "")
    if request.query_params.get("uploadType", "media") != "media":
        raise InvalidRequest("uploadType: must be media, the object's bytes as the body.")
    if not name or name.endswith("/"):
        raise InvalidRequest("name: is required, and names an object.")
    uri = f"gs://{bucket}/{name}"
    announced = request.headers.get("content-length", "0")
    free = await to_thread.run_sync(stored.free_bytes, f"gs://{bucket}/")
    if announced.isdigit() and int(announced) > free:
        raise ResourceExhausted(f"{uri} has {announced} bytes, but there is room for {free}.")
    if not by.is_owner and await to_thread.run_sync(_is_there, stored, uri):
        place = object_place(bucket, name)
        await to_thread.run_sync(wired.guard.require, by, "storage.objects.delete", place)
    stack = ExitStack()
    file = await to_thread.run_sync(stack.enter_context, stored.create(uri))
    try:
        async for chunk in _chunks(request.stream()):
            await to_thread.run_sync(file.write, chunk)
    except BaseException as error:
        stack.__exit__(type(error), error, error.__traceback__)
        raise
    await to_thread.run_sync(stack.close)
    return _object(bucket, await to_thread.run_sync(stored.stat, uri))


async def _chunks(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Gather what arrives into larger pieces."""
    gathered = bytearray()
    async for piece in stream:
        gathered += piece
        if len(gathered) >= CHUNK:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _is_there(stored: Objects, uri: str) -> bool:
    try:
        stored.stat(uri)
    except NotFound:
        return False
    return True


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


def _listed(bucket: str, found: list[InputObject], prefixes: list[str]) -> dict[str, Any]:
    kept = [item for item in found if item.version != UNREADABLE][:MOST_LISTED]
    said: dict[str, Any] = {
        "kind": "storage#objects",
        "items": [_object(bucket, item) for item in kept],
    }
    return said | ({"prefixes": sorted(prefixes)} if prefixes else {})


def _bucket(name: str) -> dict[str, Any]:
    return {"kind": "storage#bucket", "id": name, "name": name}


def _object(bucket: str, found: InputObject) -> dict[str, Any]:
    name = found.uri.removeprefix(f"gs://{bucket}/")
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}",
        "bucket": bucket,
        "name": name,
        "size": str(found.size),
        "etag": json.dumps(found.version),
        "mediaLink": f"{OBJECTS.format(bucket=quote(bucket))}/{quote(name, safe='')}?alt=media",
    }
