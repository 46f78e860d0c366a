"""The load programs' own client socket, against the frames of a server and against a whole one."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from loadtest.wire import CLOSE, TEXT, Frames, Socket, WireError


@pytest.mark.parametrize("piece", [1, 2, 7, 125, 100_000])
def test_frames_come_out_whole_however_the_bytes_arrive(piece: int) -> None:
    payloads = [b"", b"x" * 125, b"y" * 126, b"z" * 70_000]
    stream = b"".join(Frame(Opcode.TEXT, payload).serialize(mask=False) for payload in payloads)
    stream += Frame(Opcode.CLOSE, b"\x0f\xa1").serialize(mask=False)
    frames, found = Frames(), []
    for at in range(0, len(stream), piece):
        found += frames.feed(stream[at : at + piece])
    assert found == [*((TEXT, payload) for payload in payloads), (CLOSE, b"\x0f\xa1")]
    assert not frames.buffer


@pytest.mark.parametrize("frame", [Frame(Opcode.TEXT, b"a", fin=False), Frame(Opcode.CONT, b"a")])
def test_fragments_are_an_error(frame: Frame) -> None:
    with pytest.raises(WireError):
        Frames().feed(frame.serialize(mask=False))


def test_a_masked_frame_is_an_error() -> None:
    with pytest.raises(WireError):
        Frames().feed(Frame(Opcode.TEXT, b"a").serialize(mask=True))


async def test_a_socket_talks_to_a_server_and_hears_its_end() -> None:
    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            assert isinstance(message, str)
            await connection.send(f"{message}!" * 100)
            await connection.close(4001)

    heard: list[bytes] = []
    lost = asyncio.Event()
    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await Socket.connect(f"ws://127.0.0.1:{port}/ws", heard.append, lost.set)
        socket.send("喂".encode())
        async with asyncio.timeout(5):
            await lost.wait()
        socket.send(b"nobody is there")
    assert heard == ["喂!".encode() * 100]


async def test_what_is_no_websocket_is_an_error() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(WireError, match="503"):
            await Socket.connect(f"ws://127.0.0.1:{port}/ws", lambda _: None, lambda: None)
