import { expect, test, type Chat, type Server } from './server';

/** Produces a state on purpose and keeps a picture of it. */
async function show(server: Server, chat: Chat, scenario: string) {
  await chat.open(server.url);
  await chat.choose(scenario);
  await chat.send(`Show me “${scenario}”.`);
}

async function picture(chat: Chat, name: string) {
  const path = test.info().outputPath(`${name}.png`);
  await chat.page.screenshot({ path });
  await test.info().attach(name, { path, contentType: 'image/png' });
}

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
  await picture(chat, 'reading');
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
  await picture(chat, 'silent');
  await chat.page.getByRole('button', { name: 'Stop' }).click();
  await expect(chat.status).toContainText(/Stopped/);
  await picture(chat, 'stopped');
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
    await picture(chat, scenario);
    expect(await server.stored(chat.conversation)).toBe(
      action === 'Continue' ? await chat.copied() : '',
    );
  });
}

test('a server that cannot be reached gives the text back', async ({ server, chat }) => {
  await chat.open(server.url);
  await server.end();
  await chat.composer.fill('Where are you?');
  await chat.composer.press('Enter');
  await expect(chat.page.getByRole('alert')).toBeVisible({ timeout: 40_000 });
  await expect(chat.composer).toHaveValue('Where are you?');
  await picture(chat, 'unreachable');
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
