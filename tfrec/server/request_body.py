"""Reads bodies of HTTP requests and decompresses them piece by piece."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web

from tfrec.server.errors import invalid

PIECE = 1 << 18  # bytes decompressed in one step, which blocks other clients for a millisecond
ANY_HEADER = zlib.MAX_WBITS | 32  # of gzip or zlib


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """Yields the bytes of a body as they arrive.

    aiohttp's own decompression would go on with the rest of a body that was refused.

    Raises:
        ServingError: unknown encoding, or the body is not of its encoding.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    chunks = request.content.iter_any()
    if encoding in ("gzip", "deflate"):
        chunks = decompressed(chunks, encoding)
    elif encoding != "identity":
        raise invalid(f"Content-Encoding {encoding} is not supported: gzip and deflate are")
    async for chunk in chunks:
        yield chunk


async def decompressed(chunks: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Yields pieces of at most PIECE bytes, and lets other tasks run in between."""
    inflater = zlib.decompressobj(ANY_HEADER)
    try:
        async for chunk in chunks:
            full = True  # more output may be available without further input
            while chunk or full:
                piece = inflater.decompress(chunk, PIECE)
                chunk, full = inflater.unconsumed_tail, len(piece) == PIECE
                yield piece
                await asyncio.sleep(0)
            if inflater.unused_data:  # would be kept in memory, and grow
                break
    except zlib.error:
        raise invalid(f"the body is not {encoding}") from None
    if not inflater.eof or inflater.unused_data:
        raise invalid(f"the body is not {encoding}: it is truncated, or goes on after its end")
