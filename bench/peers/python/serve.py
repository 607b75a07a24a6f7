"""uvicorn on a free port, with uvloop and httptools."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn


def serve(app: Any, beside: Callable[[], Awaitable[None]] | None = None) -> None:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        access_log=False,
        log_level="warning",
        backlog=4096,
        ws_per_message_deflate=False,
    )

    async def main() -> None:
        server = uvicorn.Server(config)
        task = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        other = asyncio.ensure_future(beside()) if beside else None
        await task
        if other:
            other.cancel()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main())
