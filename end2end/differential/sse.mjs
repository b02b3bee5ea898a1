// Reads streams as `eventsource-parser` does. The file has a list of chunks in hexadecimal on each
// line; the events of each stream are printed as a line of JSON.

import { readFileSync } from "node:fs";
import { createParser } from "eventsource-parser";

for (const line of readFileSync(process.argv[2], "utf8").trim().split("\n")) {
    const chunks = JSON.parse(line).map((hex) => Buffer.from(hex, "hex"));
    const events = [];
    let retry = null;
    const parser = createParser({
        // It gives an identifier only with the event that brought it: null is "not said".
        onEvent: ({ event, data, id }) => events.push([event ?? "message", data, id ?? null]),
        onRetry: (milliseconds) => (retry = milliseconds),
    });
    const text = new TextDecoder("utf-8");
    for (const chunk of chunks) parser.feed(text.decode(chunk, { stream: true }));
    parser.feed(text.decode());
    // A CR that ends a piece waits for the next end of a line, and may be what ends an event. So the
    // stream gets one more; what stands before it is made a field that nobody knows.
    const last = chunks.findLast((chunk) => chunk.length > 0)?.at(-1) ?? 0x0a;
    if (last !== 0x0a) parser.feed(last === 0x0d ? "\n" : "x\n");
    console.log(JSON.stringify({ events, retry }));
}
