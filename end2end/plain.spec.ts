import { expect, test } from './server';

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('a message is sent by a plain form and the page streams its answer', async ({ server, page }) => {
    await page.goto(server.url);
    await page.getByRole('textbox', { name: 'Message' }).fill('Hello without script');
    await page.getByRole('button', { name: 'Send' }).click();
    await expect(page).toHaveURL(/\/plain\//);
    await expect(page.getByRole('article', { name: 'Assistant' })).toContainText('I am a script');
    await page.getByRole('textbox', { name: 'Message' }).fill('And again');
    await page.getByRole('button', { name: 'Send' }).click();
    await expect(page.getByRole('article')).toHaveCount(4);
  });

  test('a conversation is readable as the server renders it', async ({ server, page }) => {
    const { conversation } = await server.ask('markdown');
    await server.over(conversation);
    await page.goto(`${server.url}/plain/${conversation}`);
    await expect(page.getByRole('article', { name: 'Assistant' }).locator('table')).toBeVisible();
  });
});

test('without WASM a message is still sent and answered', async ({ server, page }) => {
  await page.route('**/*.wasm', (route) => route.abort());
  await page.goto(server.url);
  await page.getByRole('textbox', { name: 'Message' }).fill('Hello without WASM');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByRole('article', { name: 'Assistant' })).toContainText('I am a script');
});

test('before hydration a message is sent all the same, and typed text survives it', async ({ server, page }) => {
  let release = () => {};
  const held = new Promise<void>((done) => (release = done));
  await page.route('**/*.wasm', async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(server.url);
  await page.getByRole('textbox', { name: 'Message' }).fill('Typed early');
  release();
  await expect(page.locator('html[data-hydrated]')).toBeAttached();
  await expect(page.getByRole('textbox', { name: 'Message' })).toHaveValue('Typed early');
});

test('the first paint of a running answer has the text so far', async ({ server, request }) => {
  const { conversation } = await server.ask('long');
  await expect.poll(async () => (await server.stored(conversation)).length).toBeGreaterThan(400);
  const html = await (await request.get(`${server.url}/c/${conversation}`)).text();
  const text = html.replace(/<[^>]*>/g, '');
  expect(text).toContain((await server.stored(conversation)).slice(0, 60));
});
