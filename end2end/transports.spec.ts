import { createServer, request, type IncomingMessage, type Server as HttpServer, type ServerResponse } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { connect, type AddressInfo, type Socket } from 'node:net';
import type { BrowserContext, Page } from '@playwright/test';
import { Chat, expect, Server, test as base } from './server';

/** A proxy as people have them before their servers: it may collect event streams, and may not know WebSockets. */
class Proxy {
  collects: 'nothing' | 'body' | 'all' = 'nothing';
  refusesSockets = false;
  /** The requests that are open now, and all there were, by path. */
  readonly open = new Map<string, number>();
  readonly all = new Map<string, number>();
  readonly most = new Map<string, number>();
  private readonly sockets = new Set<Socket>();
  private silent = false;
  private down = false;
  private readonly listener: HttpServer;

  constructor(private readonly server: Server) {
    this.listener = createServer((asked, answer) => this.pass(asked, answer));
    this.listener.on('connection', (socket) => this.keep(socket));
    this.listener.on('upgrade', (asked, socket, head) => this.upgrade(asked, socket as Socket, head));
  }

  get url() {
    return `http://127.0.0.1:${(this.listener.address() as AddressInfo).port}`;
  }
  start() {
    return new Promise<void>((done) => this.listener.listen(0, '127.0.0.1', done));
  }
  end() {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((done) => this.listener.close(done));
  }
  /** What is open stays open, and nothing comes through. */
  silence() {
    this.silent = true;
  }
  /** What is open is broken, and nothing more is taken. */
  cut() {
    this.down = true;
    for (const socket of this.sockets) socket.destroy();
  }
  restore() {
    this.silent = false;
    this.down = false;
  }

  /** Whether a connection still carries something. One that has lost a byte is lost. */
  private passes() {
    let lost = false;
    return () => !(lost ||= this.silent);
  }

  private keep(socket: Socket) {
    if (this.down) socket.destroy();
    this.sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.sockets.delete(socket));
  }

  private count(path: string, by: number) {
    const open = (this.open.get(path) ?? 0) + by;
    this.open.set(path, open);
    if (by > 0) this.all.set(path, (this.all.get(path) ?? 0) + 1);
    this.most.set(path, Math.max(this.most.get(path) ?? 0, open));
  }

  private pass(asked: IncomingMessage, answer: ServerResponse) {
    const path = asked.url!.split('?')[0];
    this.count(path, 1);
    answer.on('close', () => this.count(path, -1));
    const options = { port: new URL(this.server.url).port, path: asked.url, method: asked.method, headers: asked.headers };
    const inner = request({ host: '127.0.0.1', ...options }, (response) => {
      const stream = response.headers['content-type']?.startsWith('text/event-stream');
      if (!stream || this.collects === 'nothing') {
        answer.writeHead(response.statusCode!, response.headers);
        const passes = this.passes();
        response.on('data', (bytes) => passes() && answer.write(bytes));
        response.on('end', () => passes() && answer.end());
        return;
      }
      // As nginx does it by default: the head comes at once, the body with the end. Others keep both.
      answer.writeHead(response.statusCode!, response.headers);
      if (this.collects === 'body') answer.flushHeaders();
      const body: Buffer[] = [];
      response.on('data', (bytes) => body.push(bytes));
      response.on('end', () => answer.end(Buffer.concat(body)));
    });
    inner.on('error', () => answer.destroy());
    answer.on('close', () => inner.destroy());
    asked.pipe(inner);
  }

  private upgrade(asked: IncomingMessage, socket: Socket, head: Buffer) {
    this.count('/api/ws', 1);
    socket.on('close', () => this.count('/api/ws', -1));
    if (this.refusesSockets) {
      socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
      return;
    }
    const inner = connect(Number(new URL(this.server.url).port), '127.0.0.1');
    this.keep(inner);
    const lines = asked.rawHeaders.flatMap((name, at, all) => (at % 2 ? [] : [`${name}: ${all[at + 1]}`]));
    inner.write(`GET ${asked.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    inner.write(head);
    const passes = this.passes();
    for (const [from, to] of [
      [socket, inner],
      [inner, socket],
    ]) {
      from.on('data', (bytes) => passes() && to.write(bytes));
      from.on('close', () => passes() && to.destroy());
      from.on('error', () => to.destroy());
    }
  }
}

const test = base.extend<{ between: Proxy }>({
  between: async ({ server }, use) => {
    const between = new Proxy(server);
    await between.start();
    await use(between);
    await between.end();
  },
});

/** A tab on a conversation whose answer is being written. */
async function tab(context: BrowserContext, url: string, page?: Page) {
  const chat = new Chat(page ?? (await context.newPage()));
  await chat.open(url);
  return chat;
}

/** Waits until a tab shows so many characters more than it does now. */
async function more(chat: Chat, characters: number) {
  await chat.words((await chat.text.textContent())!.length + characters);
}

/** An answer that lasts for as long as a busy machine takes to open many tabs. */
async function endless(server: Server, path: string) {
  await writeFile(path, '[[scenario]]\nname = "long"\npace = 50\nsteps = [{ words = 12000 }, { end = "stop" }]\n');
  server.options[server.options.indexOf('builtin')] = path;
  await server.startedWith({});
}

/** Opens many tabs, each with an answer of its own, and waits until all of them get more at the same time. */
async function many(count: number, server: Server, context: BrowserContext, url: () => string) {
  const tabs: Chat[] = [];
  for (let n = 0; n < count; n++) {
    const { conversation } = await server.ask('long', `Tab ${n}`);
    tabs.push(await tab(context, `${url()}/c/${conversation}`));
  }
  const before = await Promise.all(tabs.map(async (chat) => (await chat.text.textContent())!.length));
  for (const [n, chat] of tabs.entries()) {
    const length = async () => (await chat.text.textContent())!.length;
    // A tab in the background writes nothing until it is looked at.
    await chat.page.bringToFront();
    await expect.poll(length, { message: `tab ${n}`, timeout: 15_000 }).toBeGreaterThan(before[n] + 100);
  }
  return tabs;
}

/** Stops an answer from the tab that shows it, and compares what it shows with what is stored. */
async function stopAndCompare(server: Server, chat: Chat) {
  const conversation = chat.conversation;
  await chat.page.bringToFront();
  await chat.page.getByRole('button', { name: 'Stop' }).click();
  await server.over(conversation);
  await chat.done();
  expect(await chat.copied()).toBe(await server.stored(conversation));
}

/** Puts a way into the storage of the browser before the page starts. */
function force(context: BrowserContext, way: string) {
  return context.addInitScript((word) => localStorage.setItem('headwater.transport', word), way);
}

for (const [way, path] of [
  ['websocket', '/api/ws'],
  ['poll', '/api/runs/poll'],
] as const) {
  test(`a setting chooses ${way}, and the text is the same`, async ({ server, between, chat, context }) => {
    await force(context, way);
    const { conversation } = await server.ask('markdown');
    await chat.open(`${between.url}/c/${conversation}`);
    await server.over(conversation);
    await chat.done();
    expect(await chat.copied()).toBe(await server.stored(conversation));
    expect(between.all.get(path)).toBeGreaterThan(0);
    expect(between.all.get('/api/runs/events')).toBeUndefined();
  });
}

test('the settings have the connection, and keep it in this browser', async ({ server, between, chat, page }) => {
  await chat.open(between.url);
  const opener = page.getByRole('button', { name: 'Settings of this chat' });
  const form = page.getByRole('dialog', { name: 'Settings of this chat' });
  await opener.click();
  await form.getByLabel('Connection').selectOption('WebSocket');
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(form).toBeHidden();
  await chat.choose('markdown');
  await chat.send('Go');
  await chat.done();
  expect(between.all.get('/api/ws')).toBe(1);
  expect(between.all.get('/api/runs/events')).toBeUndefined();
  expect(await chat.copied()).toBe(await server.stored(chat.conversation));
  await page.reload();
  await expect(page.locator('html[data-hydrated]')).toBeAttached();
  await opener.click();
  await expect(form.getByLabel('Connection')).toHaveValue('websocket');
});

for (const collected of ['body', 'all'] as const) {
  test(`where a proxy collects event streams (${collected}), answers come over a WebSocket`, async ({ server, between, chat, page }) => {
    between.collects = collected;
    const { conversation } = await server.ask('long');
    await chat.open(`${between.url}/c/${conversation}`);
    await more(chat, 400);
    expect(between.all.get('/api/ws')).toBe(1);
    // After a reload it is not tried once more: that would be five seconds without a word.
    const streams = between.all.get('/api/runs/events');
    await chat.open(page.url());
    await more(chat, 400);
    expect(between.all.get('/api/runs/events')).toBe(streams);
    await stopAndCompare(server, chat);
  });
}

test('when a proxy is mended, the better way is taken again', async ({ server, between, chat, page }) => {
  between.collects = 'body';
  between.refusesSockets = true;
  const { conversation } = await server.ask('long');
  await page.clock.install();
  await chat.open(`${between.url}/c/${conversation}`);
  await expect.poll(() => between.all.get('/api/runs/poll') ?? 0, { timeout: 30_000 }).toBeGreaterThan(2);
  between.collects = 'nothing';
  const streams = between.all.get('/api/runs/events')!;
  await page.clock.fastForward(61_000);
  await expect.poll(() => between.all.get('/api/runs/events')).toBe(streams + 1);
  await more(chat, 400);
  expect(between.open.get('/api/runs/events')).toBe(1);
  expect(between.open.get('/api/runs/poll')).toBe(0);
  await stopAndCompare(server, chat);
});

for (const way of ['sse', 'websocket', 'poll'] as const) {
  test(`cut again and again over ${way}, nothing is lost or repeated`, async ({ server, between, chat, context }) => {
    await force(context, way);
    const { conversation } = await server.ask('long');
    await chat.open(`${between.url}/c/${conversation}`);
    for (let n = 0; n < 8; n++) {
      await more(chat, 30 * n);
      between.cut();
      await expect(chat.status).toContainText(/Reconnecting/);
      between.restore();
      await expect(chat.status).not.toContainText(/Reconnecting/, { timeout: 20_000 });
    }
    await more(chat, 30);
    await stopAndCompare(server, chat);
  });

  test(`an answer that is gone when the network is back is said over ${way}`, async ({ server, between, chat, context }) => {
    await force(context, way);
    const { conversation } = await server.ask('long');
    await chat.open(`${between.url}/c/${conversation}`);
    await more(chat, 200);
    between.cut();
    await expect(chat.status).toContainText(/Reconnecting/);
    const body = new URLSearchParams({ id: conversation });
    const deleted = await fetch(`${server.url}/api/conversations/delete`, { method: 'POST', body });
    expect(deleted.ok).toBeTruthy();
    between.restore();
    await expect(chat.status).not.toContainText(/Reconnecting/, { timeout: 30_000 });
    await expect(chat.answer.getByRole('alert')).toBeVisible();
  });
}

test('where no WebSocket passes either, answers come by polls', async ({ server, between, chat }) => {
  between.collects = 'body';
  between.refusesSockets = true;
  const { conversation } = await server.ask('long');
  await chat.open(`${between.url}/c/${conversation}`);
  await expect.poll(() => between.all.get('/api/runs/poll') ?? 0, { timeout: 30_000 }).toBeGreaterThan(2);
  await more(chat, 400);
  await stopAndCompare(server, chat);
});

test('a WebSocket that is open and dead is noticed and replaced', async ({ server, between, chat, context }) => {
  test.setTimeout(90_000);
  await force(context, 'websocket');
  const { conversation } = await server.ask('long');
  await chat.open(`${between.url}/c/${conversation}`);
  await chat.words(200);
  const since = Date.now();
  between.silence();
  await expect(chat.status).toContainText(/Reconnecting/, { timeout: 35_000 });
  console.log(`half-open WebSocket: noticed after ${Date.now() - since} ms`);
  // The next connection has been begun and is never answered; browsers make one at a time to a host.
  await chat.page.waitForTimeout(6_000);
  between.restore();
  await expect(chat.status).not.toContainText(/Reconnecting/, { timeout: 30_000 });
  console.log(`half-open WebSocket: replaced after ${Date.now() - since} ms`);
  await stopAndCompare(server, chat);
});

test('twelve tabs stream at once over one connection', async ({ server, between, context }, info) => {
  test.setTimeout(240_000);
  await endless(server, info.outputPath('script.toml'));
  const tabs = await many(12, server, context, () => between.url);
  expect(between.open.get('/api/ws')).toBe(1);
  // Pages that have just been opened may have begun before they knew who leads; a leader has two at most.
  expect(between.open.get('/api/runs/events')).toBeLessThanOrEqual(2);
  for (const chat of tabs) await stopAndCompare(server, chat);
});

test('tabs without locks leave connections for commands', async ({ server, between, context }, info) => {
  test.setTimeout(240_000);
  // As on the address of another machine without TLS.
  await context.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
  await endless(server, info.outputPath('script.toml'));
  const tabs = await many(8, server, context, () => between.url);
  expect(between.open.get('/api/ws')).toBe(8);
  for (const chat of tabs) await stopAndCompare(server, chat);
});

test('tabs without a WebSocket leave connections for commands', async ({ server, between, context }, info) => {
  test.setTimeout(240_000);
  between.refusesSockets = true;
  await endless(server, info.outputPath('script.toml'));
  const tabs = await many(8, server, context, () => between.url);
  expect(between.open.get('/api/runs/events')).toBe(4);
  for (const chat of tabs) await stopAndCompare(server, chat);
});

test('a leading tab that hangs is replaced when another one asks', async ({ server, between, context }) => {
  const leader = await tab(context, between.url);
  const hang = () => {
    for (const until = Date.now() + 25_000; Date.now() < until; );
  };
  // The page is closed before it ends.
  void leader.page.evaluate(hang).catch(() => {});
  const { conversation } = await server.ask('long');
  const since = Date.now();
  const chat = await tab(context, `${between.url}/c/${conversation}`);
  await more(chat, 200);
  console.log(`a leader hangs: another tab had its answer after ${Date.now() - since} ms`);
  expect(Date.now() - since, 'no watchdog had to ring').toBeLessThan(12_000);
  await stopAndCompare(server, chat);
});

for (const end of ['closes', 'crashes', 'is put to sleep'] as const) {
  test(`when the leading tab ${end}, another one goes on at once`, async ({ server, between, context }) => {
    const [first, second, third] = await Promise.all(
      [0, 1, 2].map(async (n) => (await server.ask('long', `Tab ${n}`)).conversation),
    );
    const leader = await tab(context, `${between.url}/c/${first}`);
    await leader.words(50);
    const others = [await tab(context, `${between.url}/c/${second}`), await tab(context, `${between.url}/c/${third}`)];
    for (const chat of others) await chat.words(50);
    const since = Date.now();
    if (end === 'closes') await leader.page.close();
    else if (end === 'crashes') {
      const session = await context.newCDPSession(leader.page);
      const crashed = leader.page.waitForEvent('crash');
      void session.send('Page.crash').catch(() => {});
      await crashed;
    } else {
      const session = await context.newCDPSession(leader.page);
      await session.send('Page.setWebLifecycleState', { state: 'frozen' });
    }
    for (const chat of others) {
      await chat.page.bringToFront();
      await more(chat, 200);
    }
    const took = Date.now() - since;
    console.log(`the leader ${end}: both others had more after ${took} ms`);
    expect(took, 'no watchdog had to ring').toBeLessThan(12_000);
    for (const chat of others) await stopAndCompare(server, chat);
  });
}
