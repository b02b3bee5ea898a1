import AxeBuilder from '@axe-core/playwright';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, SCREENS, screenshot, screenshots, test, type Chat, type Server } from './server';

const rows = (chat: Chat, list: string) => chat.page.getByRole('listbox', { name: list }).getByRole('option');
const seen = (chat: Chat) => chat.page.getByRole('region', { name: 'What it had written at this moment' });
const facts = (chat: Chat) => chat.page.locator('.facts');

/** A run of the tools scenario: two models' turns, a tool that works and one that fails. */
async function withTools(server: Server, folder: string) {
  const file = join(folder, 'headwater.toml');
  const tool = (name: string, script: string) =>
    `[[tool]]\nname = "${name}"\ndescription = "For the test."\ncommand = ["sh", "-c", ${JSON.stringify(script)}]\n`;
  await writeFile(file, tool('search', 'echo "1. A run is a log."') + tool('clock', 'echo "it has stopped" >&2; exit 1'));
  await server.startedWith({ HEADWATER_CONFIG: file });
}

let folder: string;
test.beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headwater-inspector-'));
});
test.afterEach(() => rm(folder, { recursive: true }));

test('from the receipt into the run: spans, entries, one entry, and back', async ({ server, chat, page }) => {
  await withTools(server, folder);
  await chat.open(server.url);
  await chat.choose('tools');
  await chat.send('How do streams get lost?');
  await chat.done();
  const { conversation } = chat;
  await chat.answer.locator('.receipt summary').click();
  await chat.answer.getByRole('link', { name: 'Inspect this run' }).click();
  await expect(page).toHaveURL(/\/runs\//);
  await expect(facts(chat)).toContainText('done · ');
  await expect(facts(chat)).toContainText('4 spans');

  // The waterfall: what failed says so, and a click leaves only its entries.
  await expect(rows(chat, 'Spans')).toHaveCount(4);
  const failed = rows(chat, 'Spans').filter({ hasText: 'clock' });
  await expect(failed).toContainText('failed');
  await failed.click();
  await expect(failed).toHaveAttribute('aria-selected', 'true');
  await expect(page.locator('.only')).toHaveText('clock');
  const count = await rows(chat, 'Entries').count();
  expect(count).toBeGreaterThan(2);
  for (const text of await rows(chat, 'Entries').locator('.name').allTextContents()) expect(text).toBe('clock');
  await page.getByRole('button', { name: 'Show all spans' }).click();

  // By kind, and by what is written in it.
  await page.getByLabel('Kind').selectOption('delta');
  await expect(rows(chat, 'Entries').first().locator('.kind')).toHaveText('delta');
  for (const text of await rows(chat, 'Entries').locator('.kind').allTextContents()) expect(text).toBe('delta');
  await page.getByLabel('Name, tag or text').fill('a run IS a log');
  await expect(rows(chat, 'Entries').first()).toContainText('A run is a log.');
  await page.getByLabel('Kind').selectOption('');

  // One entry as it is in the log.
  await rows(chat, 'Entries').first().click();
  await expect(page).toHaveURL(/#seq=\d+$/);
  const seq = Number(new URL(page.url()).hash.replace('#seq=', ''));
  const raw = page.getByLabel('The entry as JSON');
  const run = new URL(page.url()).pathname.replace('/runs/', '');
  const log = await (await fetch(`${server.url}/api/runs/log?run=${run}`)).text();
  const entry = JSON.parse(log.split('\n')[seq - 1]) as { seq: number; event: unknown };
  expect(entry.seq).toBe(seq);
  expect(JSON.parse((await raw.textContent())!)).toEqual(entry.event);
  await page.getByLabel('Name, tag or text').fill('');
  await expect(page.locator('#entries-' + (seq - 1))).toHaveAttribute('aria-selected', 'true');
  await expect(page.locator('#entries-' + (seq - 1))).toBeInViewport();
  await screenshots(page, 'inspector');

  // By keyboard.
  await page.getByRole('listbox', { name: 'Entries' }).focus();
  await page.keyboard.press('ArrowDown');
  await expect(page).toHaveURL(new RegExp(`#seq=${seq + 1}$`));
  await page.keyboard.press('Home');
  await expect(page).toHaveURL(/#seq=1$/);

  // The file, and the way back.
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Export' }).click();
  const file = await download;
  expect(file.suggestedFilename()).toBe(`run-${run}.jsonl`);
  expect(await readFile((await file.path())!, 'utf8')).toBe(log);
  await page.getByRole('link', { name: 'Back to the chat' }).click();
  await expect(page).toHaveURL(`${server.url}/c/${conversation}`);
  await expect(chat.text).toBeVisible();
  expect(await chat.copied()).toBe(await server.stored(conversation));
});

test('a link to a moment opens it, and time goes forwards and backwards', async ({ server, chat, page }) => {
  const { run, conversation } = await server.ask('hello');
  await server.over(conversation);
  const whole = await server.stored(conversation);
  await chat.open(`${server.url}/runs/${run}#seq=12`);
  await expect(page.locator('#entries-11')).toHaveAttribute('aria-selected', 'true');
  const part = (await seen(chat).textContent())!;
  expect(part.length).toBeGreaterThan(3);
  expect(part.length).toBeLessThan(whole.length);
  expect(whole.startsWith(part)).toBeTruthy();
  // Another link to the same run.
  await page.evaluate(() => (location.hash = '#seq=8'));
  await expect(page.locator('#entries-7')).toHaveAttribute('aria-selected', 'true');
  await expect(seen(chat)).not.toHaveText(part);
  await page.getByRole('button', { name: 'Show all' }).click();
  await expect(seen(chat)).toHaveText(whole);
  await expect(page).toHaveURL(/\/runs\/[0-9a-f-]+$/);

  // The slider.
  const time = page.getByLabel('Time of the run');
  await time.fill('0');
  await expect.poll(async () => (await seen(chat).textContent())!.length).toBeLessThan(part.length);
  await time.fill((await time.getAttribute('max'))!);
  await expect(seen(chat)).toHaveText(whole);

  // A replay at twice the pace passes through every length on its way to the end.
  await page.evaluate(() => {
    const lengths = ((window as unknown as { lengths: number[] }).lengths = [] as number[]);
    const text = document.querySelector('.seen')!;
    new MutationObserver(() => lengths.push(text.textContent!.length)).observe(text, { childList: true, characterData: true, subtree: true });
  });
  await page.getByLabel('Pace').selectOption('2');
  await page.getByRole('button', { name: 'Replay' }).click();
  await expect(page.getByRole('button', { name: 'Replay' })).toBeVisible({ timeout: 30_000 });
  await expect(seen(chat)).toHaveText(whole);
  const lengths = await page.evaluate(() => (window as unknown as { lengths: number[] }).lengths);
  expect(new Set(lengths).size).toBeGreaterThan(4);
  expect(lengths.slice(1)).toEqual([...lengths.slice(1)].sort((a, b) => a - b));
});

test('a run is inspected while it is written, across a dead network and a dead server', async ({ server, network, chat, page }) => {
  const { run, conversation } = await server.ask('long');
  await chat.open(`${network.url}/runs/${run}`);
  await expect(facts(chat)).toContainText('running · ');
  const entries = async () => Number(/([\d,]+) entries/.exec((await facts(chat).textContent())!)![1].replace(',', ''));
  await expect.poll(entries).toBeGreaterThan(200);
  // The end of the list stays in sight.
  const last = async () => Number((await rows(chat, 'Entries').last().locator('.number').textContent())!);
  await expect.poll(async () => (await entries()) - (await last())).toBeLessThan(100);
  network.cut();
  await expect(facts(chat)).toContainText('reconnecting');
  network.restore();
  const before = await entries();
  await expect.poll(entries).toBeGreaterThan(before);
  await server.end();
  await server.start();
  await expect(facts(chat)).toContainText('interrupted · ', { timeout: 30_000 });
  await expect(seen(chat)).toHaveText(await server.stored(conversation));
  const log = await (await fetch(`${server.url}/api/runs/log?run=${run}`)).text();
  expect(await entries()).toBe(log.trimEnd().split('\n').length);
});

test('a silent run goes on in time, and the list leaves the reader where he is', async ({ server, chat, page }) => {
  const silent = await server.ask('silent');
  await chat.open(`${server.url}/runs/${silent.run}`);
  const length = async () => Number(/([\d.]+) s ·/.exec((await facts(chat).textContent())!)![1]);
  await expect.poll(length).toBeGreaterThan(2);
  await fetch(`${server.url}/api/runs/stop`, { method: 'POST', body: new URLSearchParams({ run: silent.run }) });
  await expect(facts(chat)).toContainText('stopped · ');

  const long = await server.ask('long');
  await chat.open(`${server.url}/runs/${long.run}#seq=12`);
  await expect(page.locator('#entries-11')).toHaveAttribute('aria-selected', 'true');
  const list = page.getByRole('listbox', { name: 'Entries' });
  const count = async () => (await list.locator('.whole').boundingBox())!.height;
  await expect.poll(count).toBeGreaterThan(4000);
  await list.evaluate((list) => (list.scrollTop = 2000));
  const before = await count();
  await expect.poll(count).toBeGreaterThan(before + 1000);
  expect(await list.evaluate((list) => list.scrollTop)).toBe(2000);
  await fetch(`${server.url}/api/runs/stop`, { method: 'POST', body: new URLSearchParams({ run: long.run }) });
});

test('one step back shows one text, and the keys of the slider go from entry to entry', async ({ server, chat, page }) => {
  const { run, conversation } = await server.ask('markdown');
  await server.over(conversation);
  const entries = (await server.messages(conversation)).at(-1)!.answers[0].seq;
  await chat.open(`${server.url}/runs/${run}#seq=${entries - 10}`);
  await expect(page.locator(`#entries-${entries - 11}`)).toHaveAttribute('aria-selected', 'true');
  await page.evaluate(() => {
    const texts = ((window as unknown as { texts: number[] }).texts = [] as number[]);
    const text = document.querySelector('.seen')!;
    new MutationObserver(() => texts.push(text.textContent!.length)).observe(text, { childList: true, characterData: true, subtree: true });
  });
  const length = (await seen(chat).textContent())!.length;
  await page.getByRole('listbox', { name: 'Entries' }).focus();
  await page.keyboard.press('ArrowUp');
  await expect.poll(async () => (await seen(chat).textContent())!.length).toBeLessThan(length);
  const texts = await page.evaluate(() => (window as unknown as { texts: number[] }).texts);
  expect(Math.min(...texts)).toBeGreaterThan(length - 40);
  // Its end is in sight.
  await expect.poll(() => page.locator('.seen').evaluate((seen) => seen.scrollHeight - seen.scrollTop - seen.clientHeight)).toBeLessThan(2);

  const clock = page.locator('.clock');
  const time = await clock.textContent();
  await page.getByLabel('Time of the run').focus();
  await page.keyboard.press('ArrowLeft');
  await expect(clock).not.toHaveText(time!);
  await page.keyboard.press('ArrowRight');
  await expect(clock).toHaveText(time!);
});

test('what a filter leaves is said, also if it is nothing', async ({ server, chat, page }) => {
  const { run, conversation } = await server.ask('hello');
  await server.over(conversation);
  await chat.open(`${server.url}/runs/${run}#seq=12`);
  await expect(page.locator('#entries-11')).toHaveAttribute('aria-selected', 'true');
  await page.getByLabel('Kind').selectOption('run_finished');
  await expect(rows(chat, 'Entries')).toHaveCount(1);
  // It is another entry than the one that is looked at.
  await expect(rows(chat, 'Entries')).toHaveAttribute('aria-selected', 'false');
  await page.getByLabel('Kind').selectOption('tool');
  await expect(page.getByText('No entry is like this.')).toBeVisible();
  // The names of fields are no text.
  await page.getByLabel('Kind').selectOption('delta');
  await page.getByLabel('Name, tag or text').fill('block');
  await expect(page.getByText('No entry is like this.')).toBeVisible();
});

test('four pages of one run open, and its conversation can be deleted', async ({ server, chat, page }) => {
  const { run, conversation } = await server.ask('silent');
  await chat.open(`${server.url}/runs/${run}`);
  for (let n = 0; n < 3; n++) {
    const other = await page.context().newPage();
    await other.goto(`${server.url}/runs/${run}`);
    await expect(other.locator('html[data-hydrated]')).toBeAttached({ timeout: 10_000 });
  }
  await fetch(`${server.url}/api/conversations/delete`, { method: 'POST', body: new URLSearchParams({ id: conversation }) });
  await page.getByRole('link', { name: 'Back to the chat' }).click();
  await expect(page).not.toHaveURL(/\/runs\//);
});

/** Starts the demonstration of a chain without the page. */
async function askChain(server: Server) {
  const body = new URLSearchParams({ text: 'Greet me.', model: 'chain/demo' });
  const response = await fetch(`${server.url}/api/runs/start`, { method: 'POST', body });
  return (await response.json()) as { run: string; conversation: string };
}

test('a chain with models, tools, a failure and a retry is shown as what it is', async ({ server, chat, page }) => {
  await server.startedWith({ HEADWATER_ATTEMPTS: '3' });
  const { run } = await askChain(server);
  await chat.open(`${server.url}/runs/${run}`);
  await expect(facts(chat)).toContainText('done · ', { timeout: 30_000 });
  await expect(facts(chat)).toContainText('14 spans');
  const names = await rows(chat, 'Spans').locator('.name').allTextContents();
  expect(names).toEqual([
    'chainchain/demo',
    'chaingreet',
    'retrievernotes',
    'chainparallel',
    'toolcalculator',
    'toolforecast',
    'toolalmanac',
    'promptask',
    'chainparallel',
    'modelscripted/hello',
    'modelscripted/flaky',
    'modelscripted/flaky',
    'modelscripted/flaky',
    'parserlonger',
  ]);
  await expect(rows(chat, 'Spans').filter({ hasText: 'forecast' })).toContainText('failed');
  // The models of the chain are hidden; the step that chose says the answer, once.
  await expect(seen(chat)).toHaveText(/^Hello! I am a script[^!]*$/);
  await screenshots(page, 'inspector-chain');
  await page.getByLabel('Kind').selectOption('custom');
  await expect(rows(chat, 'Entries')).toHaveCount(2);
  await rows(chat, 'Entries').first().click();
  await expect(page.getByLabel('The entry as JSON')).toContainText('"name": "searched"');
  await screenshots(page, 'inspector-chain-entry');

  // What a stop broke off says so.
  const second = await askChain(server);
  const log = async () => (await fetch(`${server.url}/api/runs/log?run=${second.run}`)).text();
  await expect.poll(log, { intervals: [100] }).toContain('scripted/flaky');
  await fetch(`${server.url}/api/runs/stop`, { method: 'POST', body: new URLSearchParams({ run: second.run }) });
  await chat.open(`${server.url}/runs/${second.run}`);
  await expect(facts(chat)).toContainText('stopped · ');
  await expect(rows(chat, 'Spans').first()).toContainText('stopped');

  // In the chat it is an answer like any other, which cannot be continued.
  await page.getByRole('link', { name: 'Back to the chat' }).click();
  await expect(chat.status).toContainText('Stopped');
  await expect(page.getByRole('button', { name: 'Continue' })).toHaveCount(0);
});

test('ten thousand entries keep the page quick', async ({ server, chat, page }) => {
  const script = join(folder, 'script.toml');
  await writeFile(script, '[[scenario]]\nname = "many"\npace = 20000\nsteps = [{ words = 10000 }, { end = "stop" }]\n');
  server.options.splice(server.options.indexOf('builtin'), 1, script);
  await server.startedWith({});
  const { run, conversation } = await server.ask('many');
  await server.over(conversation);
  await page.addInitScript(() => {
    const tasks = ((window as unknown as { tasks: number[] }).tasks = [] as number[]);
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) tasks.push(Math.round(entry.duration));
    }).observe({ type: 'longtask' });
  });
  await chat.open(`${server.url}/runs/${run}`);
  // From here on: the page is there.
  await page.evaluate(() => (window as unknown as { tasks: number[] }).tasks.splice(0));
  await expect(facts(chat)).toContainText(/10,0\d\d entries/, { timeout: 60_000 });
  await expect(seen(chat)).toHaveText(await server.stored(conversation));
  expect(await rows(chat, 'Entries').count()).toBeLessThan(200);
  const list = page.getByRole('listbox', { name: 'Entries' });
  for (const part of [0.1, 0.5, 0.9, 0.3]) {
    await list.evaluate((list, part) => (list.scrollTop = list.scrollHeight * part), part);
    await page.waitForTimeout(100);
    await expect(rows(chat, 'Entries').nth(40)).toBeAttached();
  }
  await page.getByLabel('Name, tag or text').fill('own');
  await expect(rows(chat, 'Entries').first()).toContainText('own');
  await page.getByLabel('Name, tag or text').fill('');
  const time = page.getByLabel('Time of the run');
  for (const part of [0.2, 0.9, 0.5]) {
    await time.fill(String(Math.round(Number(await time.getAttribute('max')) * part)));
    await page.waitForTimeout(150);
  }
  const tasks = await page.evaluate(() => [...(window as unknown as { tasks: number[] }).tasks]);
  // What would have been seen.
  await page.evaluate(() => {
    setTimeout(() => {
      const begun = performance.now();
      while (performance.now() < begun + 80);
    });
  });
  await expect.poll(() => page.evaluate(() => (window as unknown as { tasks: number[] }).tasks.length)).toBeGreaterThan(tasks.length);
  test.info().annotations.push({ type: 'long tasks, ms', description: tasks.join(' ') });
  console.log(`long tasks with 10,000 entries: ${tasks.length}, longest ${Math.max(0, ...tasks)} ms`);
});

test('a run that there is not is said, and nothing is broken', async ({ server, chat, page }) => {
  await chat.open(`${server.url}/runs/019aa000-0000-7000-8000-000000000000`);
  await expect(page.getByText('There is no such answer.')).toBeVisible();
  await expect(page.getByRole('main', { name: 'Inspector' })).toHaveCount(0);
  await page.getByRole('link', { name: 'Begin a new chat' }).click();
  await expect(chat.composer).toBeVisible();
});

for (const scheme of ['light', 'dark'] as const) {
  for (const [device, viewport] of Object.entries(SCREENS)) {
    test(`inspector, ${device}, ${scheme}: axe finds nothing and nothing is wider than the screen`, async ({ server, chat, page }) => {
      await withTools(server, folder);
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await page.setViewportSize(viewport);
      const { run, conversation } = await server.ask('tools');
      await server.over(conversation);
      await chat.open(`${server.url}/runs/${run}#seq=9`);
      await expect(page.getByLabel('The entry as JSON')).toBeVisible();
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(width).toBeLessThanOrEqual(viewport.width);
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map((violation) => `${violation.id} ${violation.nodes[0]?.html}`)).toEqual([]);
      await screenshot(page, 'inspector');
    });
  }
}
