import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, screenshots, test, type Chat, type Server } from './server';

/** Starts the server with tools that are lines of shell. */
async function withTools(server: Server, folder: string, tools: Record<string, string>) {
  const file = join(folder, 'headwater.toml');
  const tables = Object.entries(tools).map(
    ([name, script]) =>
      `[[tool]]\nname = "${name}"\ndescription = "For the test."\ncommand = ["sh", "-c", ${JSON.stringify(script)}]\n`,
  );
  await writeFile(file, tables.join('\n'));
  await server.startedWith({ HEADWATER_CONFIG: file });
}

const card = (chat: Chat, name: string) => chat.answer.locator('details.tool', { hasText: name });

let folder: string;
test.beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headwater-tools-'));
});
test.afterEach(() => rm(folder, { recursive: true }));

test('tools run in cards that fill, and the answer goes on with what they gave', async ({ server, chat, page }) => {
  const go = join(folder, 'go');
  await withTools(server, folder, {
    search: `echo '1. A run is a log.'; while [ ! -e ${go} ]; do sleep 0.05; done; echo '2. Everything else is a cursor.'`,
    clock: 'echo "the clock has stopped" >&2; exit 1',
  });
  await chat.open(server.url);
  await chat.choose('tools');
  await chat.send('How do streams get lost?');
  const search = card(chat, 'search');
  await expect(search.locator('summary')).toHaveText('search running');
  await expect(card(chat, 'clock').locator('summary')).toHaveText('clock failed');
  await expect(chat.status).toContainText('Running search');
  await search.locator('summary').click();
  await expect(search.getByLabel('Arguments')).toHaveText('query: how streams get lost\nlimit: 3');
  await expect(search.getByLabel('Result')).toHaveText('1. A run is a log.\n');
  await screenshots(page, 'tool-running');

  // A reload in the middle shows the same, and goes on.
  await page.reload();
  await expect(search.locator('summary')).toHaveText('search running');
  await search.locator('summary').click();
  await writeFile(go, '');
  await chat.done();
  await expect(search.locator('summary')).toHaveText('search done');
  await expect(search.getByLabel('Result')).toHaveText('1. A run is a log.\n2. Everything else is a cursor.\n');
  await expect(chat.text.locator('p').first()).toHaveText('Let me look that up.');
  await expect(chat.text.locator('p').nth(1)).toHaveText('This is what came back:');
  await expect(chat.text.locator('li').first()).toContainText('search: 1. A run is a log.');
  await expect(chat.text.locator('li').last()).toContainText('the clock has stopped');
  await screenshots(page, 'tool-done');
  expect(await chat.copied()).toBe(await server.stored(chat.conversation));
});

test('Stop ends a tool that runs, and what it gave stays', async ({ server, chat }) => {
  await withTools(server, folder, { search: 'echo begun; sleep 60', clock: 'date' });
  await chat.open(server.url);
  await chat.choose('tools');
  await chat.send('Go');
  const search = card(chat, 'search');
  await expect(search.locator('summary')).toHaveText('search running');
  await chat.page.getByRole('button', { name: 'Stop' }).click();
  await expect(search.locator('summary')).toHaveText('search stopped');
  await expect(chat.status).toContainText('Stopped');
  await search.locator('summary').click();
  await expect(search.getByLabel('Result')).toHaveText('begun\n');
  await expect(chat.text).toHaveText('Let me look that up.');
});

test('without a tool to run, the call is shown', async ({ server, chat }) => {
  await chat.open(server.url);
  await chat.choose('tools');
  await chat.send('Go');
  await chat.done();
  await expect(card(chat, 'search').locator('summary')).toHaveText('search not run');
});
