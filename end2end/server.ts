import { test as base, expect, type Locator, type Page } from '@playwright/test';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const BIN = process.env.HEADWATER_BIN ?? resolve('../target/release/headwater');
const SITE = process.env.LEPTOS_SITE_ROOT ?? resolve('../target/site');

type Text = { kind: string; text: string };
type Answer = { run: string; seq: number; status: string | null; blocks: Text[] };
type Message = { id: string; role: string; text: string; answers: Answer[] };

/** The real program with a data folder of its own, which can die and come back at the same address. */
export class Server {
  private child?: ChildProcess;
  private port = 0;
  readonly options: string[] = ['--script', 'builtin', '--model', 'none', '--ping', '1'];
  /** One attempt and no mending: a test that is about more says so. */
  readonly environment: Record<string, string> = { HEADWATER_ATTEMPTS: '1', HEADWATER_LOG: 'warn', HEADWATER_ON_BREAK: 'stop' };

  constructor(private readonly data: string) {}

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    const child = spawn(BIN, ['--addr', `127.0.0.1:${this.port}`, ...this.options, 'serve'], {
      env: { ...process.env, ...this.environment, HEADWATER_DATA: this.data, LEPTOS_OUTPUT_NAME: 'headwater', LEPTOS_SITE_ROOT: SITE },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.child = child;
    const line = await new Promise<string>((done, fail) => {
      createInterface({ input: child.stdout! }).once('line', done);
      child.once('exit', (code) => fail(new Error(`the server ended with ${code}`)));
    });
    this.port = Number(new URL(line.replace('listening on ', '')).port);
  }

  /** Ends the process: `SIGKILL` at once, `SIGTERM` in order. */
  async end(signal: NodeJS.Signals = 'SIGKILL') {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await gone;
  }

  /** Starts it again with other variables. */
  async startedWith(variables: Record<string, string>) {
    await this.end();
    Object.assign(this.environment, variables);
    await this.start();
  }

  async get<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    expect(response.ok, `${path}: ${response.status}`).toBeTruthy();
    return (await response.json()) as T;
  }

  /** Starts a run without the page and returns its conversation. */
  async ask(scenario: string, text = 'Go'): Promise<{ run: string; conversation: string }> {
    const body = new URLSearchParams({ text, model: `scripted/${scenario}` });
    const response = await fetch(`${this.url}/api/runs/start`, { method: 'POST', body });
    expect(response.ok).toBeTruthy();
    return (await response.json()) as { run: string; conversation: string };
  }

  async messages(conversation: string) {
    return (await this.get<{ messages: Message[] }>(`/api/conversations/load?id=${conversation}`)).messages;
  }

  /** The stored text of the last answer of a conversation. */
  async stored(conversation: string) {
    const last = (await this.messages(conversation)).at(-1)!;
    return last.answers
      .flatMap((answer) => answer.blocks)
      .filter((block) => block.kind === 'text' || block.kind === 'refusal')
      .map((block) => block.text)
      .join('');
  }

  /** Waits until the last run of a conversation is over. */
  async over(conversation: string) {
    await expect
      .poll(async () => (await this.messages(conversation)).at(-1)!.answers.at(-1)!.status, { timeout: 60_000 })
      .not.toBeNull();
  }
}

/** A network between the browser and the server that can be cut, and that can fall silent. */
export class Network {
  private readonly sockets = new Set<Socket>();
  private state: 'up' | 'cut' | 'silent' = 'up';
  private readonly listener = createServer((browser) => {
    if (this.state === 'cut') return browser.destroy();
    const server = connect(Number(new URL(this.server.url).port), '127.0.0.1');
    for (const [from, to] of [
      [browser, server],
      [server, browser],
    ]) {
      this.sockets.add(from);
      from.setNoDelay(true);
      // Silence is half-open: nobody hears a FIN either.
      from.on('data', (bytes) => this.state === 'silent' || to.write(bytes));
      from.on('close', () => this.state === 'silent' || to.destroy());
      from.on('error', () => to.destroy());
    }
  });

  constructor(private readonly server: Server) {}

  get url() {
    return `http://127.0.0.1:${(this.listener.address() as AddressInfo).port}`;
  }
  start() {
    return new Promise<void>((done) => this.listener.listen(0, '127.0.0.1', done));
  }
  cut() {
    this.state = 'cut';
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }
  silence() {
    this.state = 'silent';
  }
  restore() {
    this.state = 'up';
  }
  end() {
    this.cut();
    return new Promise((done) => this.listener.close(done));
  }
}

/** A screenshot for the report, as the screen is now. */
export async function screenshot(page: Page, name: string) {
  const path = test.info().outputPath(`${name}.png`);
  await page.screenshot({ path });
  await test.info().attach(name, { path, contentType: 'image/png' });
}

/** Screenshots on a desktop and a phone, light and dark; the desktop stays. */
export async function screenshots(page: Page, name: string) {
  for (const [device, viewport] of Object.entries(SCREENS)) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await screenshot(page, `${name}-${device}-${colorScheme}`);
    }
  }
  await page.setViewportSize(SCREENS.desktop);
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
}

export const SCREENS = {
  desktop: { width: 1280, height: 800 },
  phone: { width: 360, height: 740 },
};

/** What a person sees and does. */
export class Chat {
  constructor(readonly page: Page) {}
  get composer() {
    return this.page.getByRole('textbox', { name: 'Message' });
  }
  get log() {
    return this.page.getByRole('log', { name: 'Conversation' });
  }
  get answers(): Locator {
    return this.log.getByRole('article', { name: 'Assistant' });
  }
  get answer() {
    return this.answers.last();
  }
  get text() {
    return this.answer.locator('.prose');
  }
  get status() {
    return this.page.getByRole('status');
  }
  get conversation() {
    return new URL(this.page.url()).pathname.split('/').pop()!;
  }

  /** Opens a page and waits until it is alive. */
  async open(url: string) {
    await this.page.goto(url);
    await expect(this.page.locator('html[data-hydrated]')).toBeAttached({ timeout: 30_000 });
  }

  async choose(scenario: string) {
    await this.page.getByLabel('Model', { exact: true }).selectOption(`scripted/${scenario}`);
  }

  async send(text: string) {
    await this.composer.fill(text);
    await this.composer.press('Enter');
    await expect(this.page).toHaveURL(/\/c\//);
  }

  /** From here on every state of the answer's text is seen, however short; the function returns them. */
  async watch(): Promise<() => Promise<string[]>> {
    await this.page.evaluate(() => {
      const seen = ((window as unknown as { seen: string[] }).seen = [] as string[]);
      const look = () => seen.push(document.querySelector('.answer .prose')?.textContent ?? '');
      new MutationObserver(look).observe(document.body, { childList: true, characterData: true, subtree: true });
    });
    return () => this.page.evaluate(() => (window as unknown as { seen: string[] }).seen);
  }

  async words(least: number) {
    await expect
      .poll(async () => ((await this.text.textContent()) ?? '').length, { timeout: 30_000 })
      .toBeGreaterThan(least);
  }

  async done() {
    await expect(this.log).not.toHaveAttribute('aria-busy', 'true', { timeout: 60_000 });
    await expect(this.answer.getByRole('button', { name: 'Copy', exact: true }).last()).toBeAttached();
  }

  /** The Markdown source of the last answer, as its Copy button gives it. */
  async copied() {
    await this.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await this.page.bringToFront();
    await this.answer.hover();
    await this.answer.locator('.actions').getByRole('button', { name: 'Copy', exact: true }).click();
    return this.page.evaluate(() => navigator.clipboard.readText());
  }
}

export const test = base.extend<{ server: Server; network: Network; chat: Chat }>({
  server: async ({}, use) => {
    const data = await mkdtemp(join(tmpdir(), 'headwater-'));
    const server = new Server(data);
    await server.start();
    await use(server);
    await server.end();
    await rm(data, { recursive: true, force: true });
  },
  network: async ({ server }, use) => {
    const network = new Network(server);
    await network.start();
    await use(network);
    await network.end();
  },
  chat: async ({ page }, use) => {
    const trouble: string[] = [];
    page.on('pageerror', (error) => trouble.push(String(error)));
    await use(new Chat(page));
    expect(trouble, 'the page throws nothing').toEqual([]);
  },
});

export { expect };
