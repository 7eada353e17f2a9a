#!/usr/bin/env python3
"""A store far away, on this machine: a proxy that holds back the first byte of every answer.

    latency.py PORT MILLISECONDS    listens on a port of its own choice, which it prints, and passes on to PORT

An answer begins with the first bytes from the server after bytes from the client; what follows is passed on as it comes. So a
request costs so much more, and a byte nothing. On SIGTERM it prints, as JSON, how many requests it has seen, how many of them
at most waited for an answer at once, and how many on average while any did.
"""

import asyncio
import json
import signal
import sys
import time


class Meter:
    """How many requests wait for their answers, over time."""

    def __init__(self):
        self.requests = self.waiting = self.most = 0
        self.area = self.busy = 0.0
        self.changed = time.monotonic()

    def change(self, by):
        now = time.monotonic()
        self.area += self.waiting * (now - self.changed)
        self.busy += (now - self.changed) if self.waiting else 0
        self.changed = now
        self.waiting += by
        self.most = max(self.most, self.waiting)
        self.requests += max(by, 0)

    def report(self):
        return {"requests": self.requests, "most": self.most, "mean": round(self.area / self.busy, 1) if self.busy else 0}


class Side(asyncio.Protocol):
    """One end of a connection; what arrives goes to the other end, at the speed at which that takes it."""

    def __init__(self, link):
        self.link, self.transport, self.other = link, None, None

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.other.transport.pause_reading()

    def resume_writing(self):
        self.other.transport.resume_reading()

    def connection_lost(self, _):
        if self.other and self.other.transport:
            self.other.transport.close()


class Client(Side):
    early = b""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.link.task = asyncio.ensure_future(self.link.connect(self))

    def data_received(self, data):
        self.link.asked()
        if self.other is None:
            self.early += data
        else:
            self.other.transport.write(data)


class Server(Side):
    def data_received(self, data):
        self.link.answered(data)


class Link:
    """A client's connection and the one to the server that goes with it."""

    def __init__(self, port, seconds, meter):
        self.port, self.seconds, self.meter = port, seconds, meter
        # Whether an answer is due; what has come of it and is held back.
        self.due, self.held = False, None

    async def connect(self, client):
        try:
            _, server = await asyncio.get_running_loop().create_connection(lambda: Server(self), "127.0.0.1", self.port)
        except OSError:
            client.transport.close()
            return
        self.client, server.other = client, client
        server.transport.write(client.early)
        client.other = server

    def asked(self):
        if not self.due:
            self.due = True
            self.meter.change(+1)

    def answered(self, data):
        if not self.due:
            self.client.transport.write(data)
        elif self.held is not None:
            self.held.append(data)
        else:
            self.held = [data]
            asyncio.get_running_loop().call_later(self.seconds, self.release)

    def release(self):
        self.due = False
        self.meter.change(-1)
        self.client.transport.writelines(self.held)
        self.held = None


async def main(port, seconds):
    loop, meter, ended = asyncio.get_running_loop(), Meter(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: Client(Link(port, seconds, meter)), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    print(json.dumps(meter.report()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
