"""``warehouse:query`` and ``warehouse:load``: SQL over tables, and files into them.

Answers of queries and bodies of loads are data, not JSON: rows travel as Arrow, files as they are.
"""

# Annotations are read at run time here, so they are not strings.

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from rowcast.access.guard import Guard, require_data
from rowcast.core.caller import Caller
from rowcast.core.tables import TableName
from rowcast.errors import InvalidRequest
from rowcast.server.body import parse_object
from rowcast.server.routing import PARENT, At, Body, By, Wired
from rowcast.warehouse.dialect import read_statement

ARROW = "application/vnd.apache.arrow.stream"
CHUNK = 1 << 20

router = APIRouter(tags=["warehouse"], include_in_schema=False)


@router.post(PARENT + "/warehouse:query", operation_id="warehouse.query")
def query(at: At, content: Body, wired: Wired, by: By) -> StreamingResponse:
    """Run a statement; its rows as an Arrow stream."""
    body = parse_object(content)
    unknown = sorted(set(body) - {"query", "dataset", "write", "table"})
    if unknown:
        raise InvalidRequest(f"{', '.join(unknown)}: unknown field")
    table = body.get("table")
    if isinstance(table, str):
        require_data(wired.guard, by, reads=[table])
        return _streamed(wired.tables.scan(table))
    text, dataset = body.get("query"), body.get("dataset")
    if not isinstance(text, str) or not isinstance(dataset, str | None):
        raise InvalidRequest("query: is required, a text; dataset: is a text")
    write = body.get("write") is True
    permit(wired.guard, by, text, at.project, dataset)
    answer = wired.tables.query(text, project=at.project, dataset=dataset, write=write)
    return _streamed(answer)


@router.post(PARENT + "/warehouse:load", operation_id="warehouse.load")
async def load(request: Request, wired: Wired, by: By) -> dict[str, Any]:
    """Make a table of the body, a file; or add it to one."""
    asked = request.query_params
    name = TableName.parse(asked.get("table", ""))
    await to_thread.run_sync(lambda: require_data(wired.guard, by, writes=[name.uri]))
    tables = wired.tables.tables
    own = f"upload-{uuid.uuid4().hex}"
    ending = asked.get("ending", "")
    if ending not in ("", ".gz", ".zst"):
        raise InvalidRequest("ending: is .gz or .zst")
    uri = f"{tables.place(own)}file{ending}"
    try:
        await receive(request, uri, tables.objects)
        rows = await to_thread.run_sync(
            lambda: wired.tables.load(
                [uri],
                name.uri,
                format_=asked.get("format", "csv"),
                mode=asked.get("mode", "create"),
                text=asked.get("text") == "true",
                arrived=True,
            )
        )
    finally:
        await to_thread.run_sync(tables.clear, own)
    return {"table": name.uri, "rows": str(rows)}


async def receive(request: Request, uri: str, objects: Any) -> int:
    """Write the body of a request to an object, as it comes; its bytes."""
    stack = ExitStack()
    file = await to_thread.run_sync(stack.enter_context, objects.create(uri))
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            await to_thread.run_sync(file.write, piece)
    except BaseException as error:
        stack.__exit__(type(error), error, error.__traceback__)
        raise
    await to_thread.run_sync(stack.close)
    return size


def permit(guard: Guard, by: Caller, text: str, project: str, dataset: str | None) -> None:
    """See that a caller may read, and change, the tables that a statement names."""
    if by.is_owner:
        return
    statement = read_statement(text, project, dataset)
    uris = [table.uri for table in statement.tables] + [name.uri for name in statement.datasets]
    require_data(guard, by, reads=uris, writes=[] if statement.reads else uris[:1])


def _streamed(answer: Any) -> StreamingResponse:
    """Begin to read, so that what is wrong is an error and not half an answer; then stream."""
    stack = ExitStack()
    reader: pa.RecordBatchReader = stack.enter_context(answer)
    return StreamingResponse(_pieces(stack, reader), media_type=ARROW)


def _pieces(stack: ExitStack, reader: pa.RecordBatchReader) -> Iterator[bytes]:
    with stack:
        sink = _Sink()
        with pa.ipc.new_stream(pa.PythonFile(sink, "w"), reader.schema) as writer:
            yield sink.taken()
            for batch in reader:
                writer.write_batch(batch)
                yield sink.taken()
        yield sink.taken()


class _Sink:
    """A file whose bytes are taken out as they come."""

    closed = False

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        whole = bytes(self._bytes)
        self._bytes.clear()
        return whole
