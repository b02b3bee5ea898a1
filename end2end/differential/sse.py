"""Reads streams as `httpx-sse` does. The file has a list of chunks in hexadecimal on each line; the
events of each stream are printed as a line of JSON."""

import codecs
import json
import sys

from httpx_sse._decoders import SSEDecoder, SSELineDecoder

for stream in open(sys.argv[1], encoding="utf-8"):
    # It leaves the decoding to httpx, which keeps a byte order mark; the standard drops it.
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    lines, decoder, events = SSELineDecoder(), SSEDecoder(), []

    def take(found):
        for line in found:
            # It gives an event for a blank line without data as well; in the standard that is none.
            has_data = bool(decoder._data)
            event = decoder.decode(line)
            if event is not None and has_data:
                events.append([event.event or "message", event.data, event.id])

    for chunk in json.loads(stream):
        part = text.decode(bytes.fromhex(chunk))
        # An empty text is none for it.
        take(lines.decode(part) if part else [])
    rest = text.decode(b"", final=True)
    take(lines.decode(rest) if rest else [])
    take(lines.flush())
    # It takes more for a number of `retry` than the standard does, and forgets it with each event.
    print(json.dumps({"events": events, "retry": None}))
