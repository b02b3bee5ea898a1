import { Chat, expect, test } from './server';

test('a question is answered token by token and stays after a reload', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await expect(chat.composer).toBeFocused();
  await chat.choose('markdown');
  await chat.send('Show me Markdown.');
  await expect(chat.log.getByRole('article', { name: 'You' })).toContainText('Show me Markdown.');
  await chat.words(20);
  const early = (await chat.text.textContent())!.length;
  await expect(page.getByRole('button', { name: 'Stop' })).toBeVisible();
  await chat.words(early + 50);
  await chat.done();
  await expect(chat.text.locator('table')).toBeVisible();
  await expect(chat.text.locator('figure.code').first()).toBeVisible();
  const stored = await server.stored(chat.conversation);
  expect(await chat.copied()).toBe(stored);
  const live = await chat.text.innerHTML();
  await chat.open(page.url());
  expect(await chat.text.innerHTML()).toBe(live);
});

test('reload at random moments neither loses nor repeats a token', async ({ server, chat, page }) => {
  const { conversation } = await server.ask('markdown');
  await chat.open(`${server.url}/c/${conversation}`);
  for (let reload = 0; reload < 4; reload++) {
    await page.waitForTimeout(100 + Math.random() * 700);
    await chat.open(page.url());
  }
  await server.over(conversation);
  await chat.done();
  const stored = await server.stored(conversation);
  await expect.poll(() => chat.copied()).toBe(stored);
  const live = await chat.text.innerHTML();
  await chat.open(page.url());
  expect(await chat.text.innerHTML()).toBe(live);
});

test('a second tab follows the same answer to the same text', async ({ server, chat, context }) => {
  const { conversation } = await server.ask('markdown');
  await chat.open(`${server.url}/c/${conversation}`);
  await chat.words(100);
  const second = new Chat(await context.newPage());
  await second.open(`${server.url}/c/${conversation}`);
  await server.over(conversation);
  const stored = await server.stored(conversation);
  for (const tab of [second, chat]) {
    await tab.page.bringToFront();
    await tab.done();
    expect(await tab.copied()).toBe(stored);
  }
  expect(await second.text.innerHTML()).toBe(await chat.text.innerHTML());
});

test('offline and online again in mid-answer', async ({ server, network, chat, context }) => {
  const { conversation } = await server.ask('long');
  await chat.open(`${network.url}/c/${conversation}`);
  await chat.words(200);
  network.cut();
  await context.setOffline(true);
  await expect(chat.status).toContainText(/No network|Reconnecting/);
  await chat.page.waitForTimeout(1500);
  network.restore();
  await context.setOffline(false);
  await expect(chat.status).not.toContainText(/No network|Reconnecting/, { timeout: 15_000 });
  await chat.words((await chat.text.textContent())!.length + 200);
  await chat.page.getByRole('button', { name: 'Stop' }).click();
  await server.over(conversation);
  await chat.done();
  expect(await chat.copied()).toBe(await server.stored(conversation));
});

test('a connection that is open and dead is noticed and replaced', async ({ server, network, chat }) => {
  test.setTimeout(60_000);
  const { conversation } = await server.ask('long');
  await chat.open(`${network.url}/c/${conversation}`);
  await chat.words(200);
  network.silence();
  await expect(chat.status).toContainText(/Reconnecting/, { timeout: 30_000 });
  network.restore();
  await expect(chat.status).not.toContainText(/Reconnecting/, { timeout: 30_000 });
  await chat.page.getByRole('button', { name: 'Stop' }).click();
  await server.over(conversation);
  await chat.done();
  expect(await chat.copied()).toBe(await server.stored(conversation));
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`${signal} in mid-answer keeps the text, and Continue goes on in the same message`, async ({ server, chat, page }) => {
    server.options.push('--grace', '0');
    await server.end();
    await server.start();
    const { conversation } = await server.ask('markdown');
    await chat.open(`${server.url}/c/${conversation}`);
    await chat.words(150);
    await server.end(signal);
    await page.waitForTimeout(1200);
    await server.start();
    const alert = chat.answer.getByRole('alert');
    await expect(alert).toContainText('The server', { timeout: 30_000 });
    expect(await chat.copied()).toBe(await server.stored(conversation));
    await alert.getByRole('button', { name: 'Continue', exact: true }).click();
    await expect(alert).toBeHidden();
    await expect(chat.answers).toHaveCount(1);
    await server.over(conversation);
    await chat.done();
    await expect(chat.text.locator('.seam')).toHaveCount(1);
    const stored = await server.stored(conversation);
    expect(await chat.copied()).toBe(stored);
    // The scripted text is known: nothing is missing at the seam and nothing is there twice.
    const control = await server.ask('markdown');
    await server.over(control.conversation);
    expect(stored).toBe(await server.stored(control.conversation));
  });
}

test('Stop keeps what was on the screen, nothing grows back, and the next message works at once', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('long');
  await chat.send('Go on and on.');
  await chat.words(300);
  await chat.composer.press('Escape');
  await expect(chat.status).toContainText('Stopped');
  const shown = await chat.text.textContent();
  expect(await chat.copied()).toBe(await server.stored(chat.conversation));
  await page.waitForTimeout(800);
  expect(await chat.text.textContent()).toBe(shown);
  await chat.open(page.url());
  expect(await chat.text.textContent()).toBe(shown);
  await chat.choose('hello');
  await chat.send('And now?');
  await expect(chat.answers).toHaveCount(2);
  await chat.done();
  await expect(chat.text).toContainText('I am a script');
  await expect(chat.answers.first().locator('.prose')).toHaveText(shown!);
});

test('a message typed while an answer streams waits visibly and can be taken back', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('slow');
  await chat.send('First');
  await chat.composer.fill('Second');
  await chat.composer.press('Enter');
  const waiting = page.getByLabel('Waiting to be sent');
  await expect(waiting).toContainText('Second');
  await waiting.getByRole('button', { name: 'Take back' }).click();
  await expect(chat.composer).toHaveValue('Second');
  await chat.composer.press('Enter');
  await expect(chat.answers).toHaveCount(2, { timeout: 30_000 });
  await chat.done();
  expect((await server.messages(chat.conversation)).map((message) => message.text)).toEqual(['First', '', 'Second', '']);
});

test('edit makes a branch, the arrows lead back', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('echo');
  await chat.send('one');
  await chat.done();
  const question = chat.log.getByRole('article', { name: 'You' });
  await question.hover();
  await question.getByRole('button', { name: 'Edit' }).click();
  await page.getByRole('textbox', { name: 'New wording' }).fill('two');
  await page.getByRole('textbox', { name: 'New wording' }).press('Enter');
  await expect(chat.text).toContainText('two');
  await chat.done();
  await question.hover();
  await question.getByRole('button', { name: 'Previous' }).click();
  await expect(question).toContainText('one');
  await expect(chat.text).toContainText('one');
});

test('rename, search, pin and delete a conversation', async ({ server, chat, page }) => {
  await server.ask('hello', 'Of rivers and seas');
  const { conversation } = await server.ask('hello', 'Something else');
  await server.over(conversation);
  await chat.open(`${server.url}/c/${conversation}`);
  const sidebar = page.getByRole('navigation', { name: 'Conversations' });
  await expect(sidebar.getByRole('link', { name: 'Of rivers and seas' })).toBeVisible();
  await sidebar.getByRole('searchbox', { name: 'Search conversations' }).fill('RIVERS');
  await expect(sidebar.getByRole('link', { name: 'Something else' })).toBeHidden();
  await expect(sidebar.getByRole('link', { name: 'Of rivers and seas' })).toBeVisible();
  await sidebar.getByRole('searchbox', { name: 'Search conversations' }).fill('');
  await expect(sidebar.getByRole('link', { name: 'Something else' })).toBeVisible();
});
