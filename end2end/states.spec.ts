import { writeFileSync } from 'node:fs';
import { expect, screenshot as keep, screenshots, test, type Chat, type Server } from './server';

/** Produces a state on purpose and keeps a screenshot of it. */
async function show(server: Server, chat: Chat, scenario: string) {
  await chat.open(server.url);
  await chat.choose(scenario);
  await chat.send(`Show me “${scenario}”.`);
}

const screenshot = (chat: Chat, name: string) => keep(chat.page, name);

test('every stage is shown as the server tells it', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('stages');
  // Stages pass quickly; a busy machine must not miss one by looking too late.
  await chat.status.evaluate((line) => {
    const seen = ((window as unknown as { seen: string[] }).seen = [] as string[]);
    new MutationObserver(() => seen.push(line.textContent ?? '')).observe(line, {
      childList: true,
      characterData: true,
      subtree: true,
    });
  });
  await chat.send('Show me “stages”.');
  await expect(chat.status).toContainText(/Reading the prompt/);
  await screenshot(chat, 'reading');
  await chat.done();
  await expect(chat.status).toBeEmpty();
  const seen = (await page.evaluate(() => (window as unknown as { seen: string[] }).seen)).join('\n');
  for (const words of [/Queued, /, /Reading the prompt, \d+ %/, /Waiting for the first token/]) {
    expect(seen).toMatch(words);
  }
});

test('silence of the provider is said', async ({ server, chat }) => {
  await show(server, chat, 'stall');
  await expect(chat.status).toContainText(/silent for \d+ s/, { timeout: 20_000 });
  await screenshot(chat, 'silent');
  await chat.page.getByRole('button', { name: 'Stop' }).click();
  await expect(chat.status).toContainText(/Stopped/);
  await screenshot(chat, 'stopped');
});

for (const [scenario, sentence, action] of [
  ['cut', 'without saying', 'Continue'],
  ['error-after', 'failed', 'Continue'],
  ['error-before-auth', 'does not accept the key', 'Retry'],
  ['error-before-overloaded', 'too much to do', 'Retry'],
  ['error-before-quota', 'no credit', 'Retry'],
] as const) {
  test(`${scenario}: the sentence, the kept text, the action`, async ({ server, chat }) => {
    await show(server, chat, scenario);
    const alert = chat.answer.getByRole('alert');
    await expect(alert).toContainText(sentence);
    await expect(alert.getByRole('button', { name: action, exact: true })).toBeVisible();
    if (action === 'Continue') await expect(alert).toContainText(/\d+ words? (is|are) kept/);
    await screenshot(chat, scenario);
    expect(await server.stored(chat.conversation)).toBe(
      action === 'Continue' ? await chat.copied() : '',
    );
  });
}

test('what passes by itself is a countdown in the status line, then an answer', async ({ server, chat, page }, info) => {
  // The countdowns of the built-in script last a second, which a busy machine needs for one picture.
  const script = info.outputPath('flaky.toml');
  writeFileSync(
    script,
    `[[scenario]]
name = "flaky"
pace = 40
steps = [
    { error = { code = "rate_limited", message = "Too many requests. The provider asks to wait.", status = 429, retry_after_ms = 6000 }, times = 2 },
    { text = "The third attempt went through, and nobody had to press anything." },
    { end = "stop" },
]
`,
  );
  server.options[server.options.indexOf('builtin')] = script;
  await server.startedWith({ HEADWATER_ATTEMPTS: '3' });
  await show(server, chat, 'flaky');
  await expect(chat.status).toContainText(/Too many requests.* Trying again in 1 s \(attempt 2\)/);
  await screenshot(chat, 'retrying');
  await expect(chat.status).toContainText(/attempt 3/);
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
  await screenshot(chat, 'retrying-phone-dark');
  await chat.done();
  await expect(chat.text).toContainText('nobody had to press anything');
  await expect(chat.answer.getByRole('alert')).toHaveCount(0);
});

test('an answer that broke off goes on by itself, with a seam', async ({ server, chat }) => {
  await server.startedWith({ HEADWATER_ON_BREAK: 'continue' });
  await show(server, chat, 'cut');
  await chat.done();
  await expect(chat.text).toContainText('and here the line was cut. This is the second half.');
  await expect(chat.text.locator('.seam')).toHaveCount(1);
  await expect(chat.answer.getByRole('alert')).toHaveCount(0);
  expect(await chat.copied()).toBe(await server.stored(chat.conversation));
  await screenshots(chat.page, 'seam');
});

test('another model answers where the chosen one cannot, and the receipt names it', async ({ server, chat }) => {
  await server.startedWith({ HEADWATER_FALLBACK: 'scripted/hello' });
  await show(server, chat, 'error-before-auth');
  await chat.done();
  await expect(chat.text).toContainText('I am a script');
  const receipt = chat.answer.locator('.receipt');
  await expect(receipt.locator('summary')).toContainText('answered by hello');
  await receipt.locator('summary').click();
  await expect(receipt.locator('dd').first()).toHaveText('hello');
  await screenshots(chat.page, 'fallback');
});

test('quota: another model is the way', async ({ server, chat }) => {
  await show(server, chat, 'error-before-quota');
  const alert = chat.answer.getByRole('alert');
  const other = alert.getByRole('button', { name: 'Another model' });
  await expect(other).toHaveClass(/main/);
  await expect(alert.locator('.main')).toHaveCount(1);
  await screenshots(chat.page, 'quota');
  await other.click();
  await alert.getByRole('button', { name: /^hello/ }).click();
  await expect(chat.text).toContainText('I am a script');
});

test('too many requests: another model beside a countdown', async ({ server, chat }) => {
  await show(server, chat, 'error-before-rate-limit');
  const alert = chat.answer.getByRole('alert');
  await expect(alert.getByRole('button', { name: 'Another model' })).toHaveClass(/main/);
  await expect(alert.getByRole('button', { name: /^Retry in [12] s$/ })).toBeVisible();
  await screenshot(chat, 'rate-limit');
  await expect(alert.getByRole('button', { name: 'Retry', exact: true })).toBeEnabled();
  await screenshot(chat, 'rate-limit-over');
});

test('too long for the model: a new chat, or a model that reads more', async ({ server, chat, page }) => {
  await show(server, chat, 'error-before-context');
  const alert = chat.answer.getByRole('alert');
  await expect(alert.getByRole('button', { name: 'Another model' })).toBeVisible();
  await expect(alert.getByRole('button', { name: 'Retry' })).toHaveCount(0);
  await screenshots(page, 'too-long');
  await alert.getByRole('link', { name: 'New chat' }).click();
  await expect(page).toHaveURL(`${server.url}/`);
  await expect(chat.composer).toBeVisible();
});

test('a key that is not accepted leads to the providers', async ({ server, chat, page }) => {
  await show(server, chat, 'error-before-auth');
  const alert = chat.answer.getByRole('alert');
  const way = alert.getByRole('button', { name: 'How to connect a provider' });
  await expect(way).toHaveClass(/main/);
  await expect(alert.getByRole('button', { name: 'Retry' })).not.toHaveClass(/main/);
  await screenshots(page, 'key');
  await way.click();
  const dialog = page.getByRole('dialog', { name: 'Providers' });
  await expect(dialog).toContainText('OPENAI_API_KEY');
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(way).toBeFocused();
});

test('a server that cannot be reached gives the text back', async ({ server, chat }) => {
  await chat.open(server.url);
  await server.end();
  await chat.composer.fill('Where are you?');
  await chat.composer.press('Enter');
  await expect(chat.page.getByRole('alert')).toBeVisible({ timeout: 40_000 });
  await expect(chat.composer).toHaveValue('Where are you?');
  await screenshot(chat, 'unreachable');
});

test('nothing in an answer runs, and nothing loads', async ({ server, chat, page }) => {
  const foreign: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith('data:')) foreign.push(request.url());
  });
  page.on('dialog', (dialog) => foreign.push(dialog.message()));
  await show(server, chat, 'nasty');
  await chat.done();
  expect(await chat.text.locator('script, img, iframe, object, style, svg, form').count()).toBe(0);
  expect(await chat.text.locator('a[href^="javascript" i], a[href^="data" i]').count()).toBe(0);
  for (const link of await chat.text.locator('a').all()) {
    expect(await link.getAttribute('rel')).toContain('noopener');
  }
  expect(foreign).toEqual([]);
  expect(await chat.copied()).toBe(await server.stored(chat.conversation));
});
