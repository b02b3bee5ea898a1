"""Follows a run with `websockets`. After every five entries it drops the connection and comes back after the last
one. Prints each entry as a line of JSON."""

import json
import sys

from websockets.sync.client import connect

base, run = sys.argv[1:3]
address = base.replace("http", "ws", 1) + "/api/ws"
after, finished = 0, False
while not finished:
    with connect(address, proxy=None) as socket:
        socket.send(json.dumps({"id": 3, "command": "subscribe", "run": run, "after": after}))
        entries = 0
        for text in socket:
            message = json.loads(text)
            if message.get("subscription") != 3 or "id" not in message:
                continue
            print(json.dumps([message["id"], json.dumps(message["data"])]), flush=True)
            after, entries = message["id"], entries + 1
            finished = message["data"]["type"] == "run_finished"
            if finished or entries == 5:
                break
