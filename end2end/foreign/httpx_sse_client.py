"""Follows a run with `httpx-sse`, by GET and by POST in turns. After every five entries it drops the connection and
comes back after the last one. Prints each entry as a line of JSON."""

import json
import sys

import httpx
from httpx_sse import connect_sse

base, run = sys.argv[1:3]
after, finished, turn = 0, False, 0
with httpx.Client(timeout=30, trust_env=False) as client:
    while not finished:
        turn += 1
        fields = {"run": run, "after": str(after)}
        by_get = {"method": "GET", "params": fields}
        by_post = {"method": "POST", "data": fields}
        entries = 0
        with connect_sse(client, url=f"{base}/api/runs/events", **(by_get if turn % 2 else by_post)) as source:
            for event in source.iter_sse():
                kind = json.loads(event.data)["type"]
                if kind in ("ping", "going_away"):
                    continue
                print(json.dumps([int(event.id), event.data]), flush=True)
                after, entries = int(event.id), entries + 1
                finished = kind == "run_finished"
                if finished or entries == 5:
                    break
