import { expect, test } from './server';

test('the built-in model answers in the page, token by token', async ({ server, chat, page }) => {
  await server.end();
  // As a newcomer starts it: no script, the model where the set-up put it.
  server.options.splice(0, server.options.length);
  await server.start();
  await chat.open(server.url);
  const states = await chat.watch();
  await chat.send('What is the capital of France?');
  await expect.poll(() => server.stored(chat.conversation), { timeout: 60_000 }).toContain('Paris');
  await server.over(chat.conversation);
  await chat.done();
  const lengths = new Set((await states()).map((text) => text.length));
  expect(lengths.size, 'the text grew in steps').toBeGreaterThan(2);
  expect(await chat.copied()).toBe(await server.stored(chat.conversation));
  await expect(page.getByText(/tokens?\/s/)).toBeVisible();
});
