import { createServer, request, type Server as HttpServer } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Chat, expect, Server, test } from './server';

/** A proxy that has the chat under `/tools/chat`, takes that off, and says so. */
async function stripping(server: Server): Promise<[string, HttpServer]> {
  const prefix = '/tools/chat';
  const proxy = createServer((asked, answer) => {
    if (!asked.url!.startsWith(prefix)) {
      answer.writeHead(404).end('another service');
      return;
    }
    const headers = { ...asked.headers, 'x-forwarded-prefix': prefix };
    const path = asked.url!.slice(prefix.length) || '/';
    const port = new URL(server.url).port;
    const inner = request({ host: '127.0.0.1', port, path, method: asked.method, headers }, (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      response.pipe(answer);
    });
    inner.on('error', () => answer.destroy());
    answer.on('close', () => inner.destroy());
    asked.pipe(inner);
  });
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  return [`http://127.0.0.1:${(proxy.address() as AddressInfo).port}${prefix}`, proxy];
}

/** Everything that a person does with addresses; none of them may leave the path. */
async function walk(server: Server, chat: Chat, home: string) {
  const page = chat.page;
  const strayed: string[] = [];
  page.on('request', (asked) => asked.url().startsWith(home) || strayed.push(asked.url()));
  await chat.open(`${home}/`);
  await chat.choose('markdown');
  await chat.send('Go');
  await chat.done();
  const stored = await server.stored(chat.conversation);
  expect(await chat.copied()).toBe(stored);
  await page.reload();
  await chat.done();
  expect(await chat.copied()).toBe(stored);
  await page.getByRole('navigation', { name: 'Conversations' }).getByText('New chat').first().click();
  await expect(chat.answers).toHaveCount(0);
  expect(new URL(page.url()).pathname).toBe(`${new URL(home).pathname}/`);
  await page.goBack();
  await expect(chat.text).not.toBeEmpty();
  await page.getByRole('navigation', { name: 'Conversations' }).getByRole('link', { name: 'Go' }).first().click();
  await chat.choose('long');
  await chat.send('More');
  await chat.words(100);
  await server.end();
  await server.start();
  await expect(chat.answer.getByRole('alert')).toContainText('The server', { timeout: 30_000 });
  await chat.answers.first().locator('.receipt summary').click();
  await chat.answers.first().getByRole('link', { name: 'Inspect this run' }).click();
  await expect(page.getByRole('heading', { name: /Inspector/ })).toBeVisible();
  await page.getByRole('link', { name: 'Back to the chat' }).click();
  await expect(chat.answers).toHaveCount(2);
  expect(strayed).toEqual([]);
}

test('a chat under a path of its own works wherever one goes', async ({ server, chat }) => {
  server.options.push('--base-path', '/chat');
  await server.end();
  await server.start();
  await walk(server, chat, `${server.url}/chat`);
});

test('a chat under a path that a proxy takes off works wherever one goes', async ({ server, chat }) => {
  server.options.push('--trust-forwarded-prefix');
  await server.end();
  await server.start();
  const [home, proxy] = await stripping(server);
  try {
    await walk(server, chat, home);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});

test('tabs of two servers on one origin do not take each other for their own', async ({ server, context }) => {
  const data = await mkdtemp(join(tmpdir(), 'headwater-'));
  const second = new Server(data);
  const paths = new Map([
    ['/one', server],
    ['/two', second],
  ]);
  const proxy = createServer((asked, answer) => {
    const port = new URL(paths.get(asked.url!.slice(0, 4))!.url).port;
    const options = { host: '127.0.0.1', port, path: asked.url, method: asked.method, headers: asked.headers };
    const inner = request(options, (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      response.pipe(answer);
    });
    inner.on('error', () => answer.destroy());
    answer.on('close', () => inner.destroy());
    asked.pipe(inner);
  });
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  try {
    const tabs: [Server, string, Chat][] = [];
    for (const [path, one] of paths) {
      one.options.push('--base-path', path);
      await one.end();
      await one.start();
      const { conversation } = await one.ask('long');
      const chat = new Chat(await context.newPage());
      const port = (proxy.address() as AddressInfo).port;
      await chat.open(`http://127.0.0.1:${port}${path}/c/${conversation}`);
      tabs.push([one, conversation, chat]);
    }
    for (const [one, conversation, chat] of tabs) {
      await chat.page.bringToFront();
      await chat.words((await chat.text.textContent())!.length + 300);
      await chat.page.getByRole('button', { name: 'Stop' }).click();
      await chat.done();
      expect(await chat.copied()).toBe(await one.stored(conversation));
    }
  } finally {
    proxy.closeAllConnections();
    proxy.close();
    await second.end();
    await rm(data, { recursive: true, force: true });
  }
});
