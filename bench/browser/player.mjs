// Plays recordings as a model's server does, to Headwater as its provider and to the other pages
// directly: the same events, at the same pace.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { recording } from './recording.mjs';

const STREAM = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' };
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript' };
const QUESTION = /recording\.\d+/g;

export class Player {
  #server = createServer((request, response) => {
    this.#answer(request, response).catch((error) => response.destroy(error));
  });
  #recordings = new Map();
  #number = 0;
  #run;
  /** The first request for the stream of the run. */
  #request;
  #found;
  #playing;

  /** `pages`: the folder of the pages. */
  constructor(pages) {
    this.pages = pages;
  }

  async listen(port) {
    await new Promise((done) => this.#server.listen(port, '127.0.0.1', done));
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  recording(tokens) {
    let found = this.#recordings.get(tokens);
    if (!found) this.#recordings.set(tokens, (found = recording(tokens)));
    return found;
  }

  /**
   * Puts in what `play` plays next. Returns what is to be asked for, in the question of a chat or in
   * an address.
   */
  load(run) {
    this.#number += 1;
    this.#run = run;
    this.#request = new Promise((found) => (this.#found = found));
    return `recording.${this.#number}`;
  }

  /** Ends what is played, for good: who asks again is refused. */
  eject() {
    this.#run = undefined;
    this.#playing?.destroy();
  }

  /** Waits until a stream has been asked for. */
  async asked() {
    await this.#request;
  }

  /** Plays the stream that was asked for. Ends with it, or when its reader has left. */
  async play() {
    const { tokens, rate } = this.#run;
    const response = await this.#request;
    this.#playing = response;
    const pieces = this.recording(tokens);
    const begin = performance.now();
    for (let sent = 0; sent < pieces.length && !response.closed; ) {
      const due = Math.min(pieces.length, Math.floor(((performance.now() - begin) * rate) / 1000) + 1);
      let events = '';
      for (; sent < due; sent++) events += event({ content: pieces[sent] });
      if (events) response.write(events);
      await new Promise((wake) => setTimeout(wake, 1));
    }
    response.end(`${event({}, 'stop')}data: [DONE]\n\n`);
  }

  async #answer(request, response) {
    const url = new URL(request.url, 'http://localhost');
    const asked = url.pathname === '/stream' ? url.search : request.method === 'POST' ? await text(request) : '';
    const found = asked.match(QUESTION)?.at(-1);
    if (found && this.#run && found === `recording.${this.#number}`) {
      response.writeHead(200, STREAM).flushHeaders();
      this.#found(response);
    } else if (url.pathname === '/v1/models') {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'bench', object: 'model' }] }));
    } else {
      const file = basename(url.pathname);
      const content = await readFile(join(this.pages, file)).catch(() => undefined);
      response.writeHead(content ? 200 : 404, { 'Content-Type': TYPES[extname(file)] ?? 'text/plain' }).end(content);
    }
  }
}

function event(delta, finish = null) {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
}
