"""Bodies of HTTP requests, inflated piece by piece."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web

from tfrec.server.errors import invalid

PIECE = 1 << 18  # bytes inflated at once: a millisecond in which no other client is answered
ANY_HEADER = zlib.MAX_WBITS | 32  # gzip's or zlib's


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The bytes of a body as they come.

    aiohttp's own inflating would go on with what is left of a body that was refused.

    Raises:
        ServingError: the encoding is not known, or the body is not of it.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    chunks = request.content.iter_any()
    if encoding in ("gzip", "deflate"):
        chunks = inflated(chunks, encoding)
    elif encoding != "identity":
        raise invalid(f"Content-Encoding {encoding} is not supported: gzip and deflate are")
    async for chunk in chunks:
        yield chunk


async def inflated(chunks: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Pieces of at most PIECE bytes, other tasks running in between."""
    inflater = zlib.decompressobj(ANY_HEADER)
    try:
        async for chunk in chunks:
            full = True  # more may be had without any input
            while chunk or full:
                piece = inflater.decompress(chunk, PIECE)
                chunk, full = inflater.unconsumed_tail, len(piece) == PIECE
                yield piece
                await asyncio.sleep(0)
            if inflater.unused_data:  # it would be kept, and grow
                break
    except zlib.error:
        raise invalid(f"the body is not {encoding}") from None
    if not inflater.eof or inflater.unused_data:
        raise invalid(f"the body is not {encoding}: it is cut off, or goes on after its end")
