import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, screenshots, test, type Chat } from './server';

const opener = (chat: Chat) => chat.page.getByRole('button', { name: 'Settings of this chat' });
const dialog = (chat: Chat) => chat.page.getByRole('dialog', { name: 'Settings of this chat' });

test('a new chat is set before its first message, and an old one later', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('settings');
  await opener(chat).click();
  const form = dialog(chat);
  await form.getByLabel('System prompt').fill('You are a river guide. Answer in two sentences.');
  await form.getByLabel('Temperature').fill('0.2');
  await form.getByLabel('Thinking').selectOption('High');
  await screenshots(page, 'settings-of-a-new-chat');
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(form).toBeHidden();
  await expect(opener(chat)).toBeFocused();
  await chat.send('How are you set?');
  await chat.done();
  await expect(chat.text).toContainText('system: You are a river guide.');
  await expect(chat.text).toContainText('temperature: 0.2');
  await expect(chat.text).toContainText('top-p: default');
  await expect(chat.text).toContainText('effort: high');

  await opener(chat).click();
  await expect(form.getByLabel('Temperature')).toHaveValue('0.2');
  await form.getByLabel('System prompt').fill('');
  await form.getByLabel('Top-p').fill('0.5');
  await form.getByLabel('Most tokens').fill('300');
  await page.keyboard.press('Enter');
  await expect(form).toBeHidden();
  await chat.send('And now?');
  await expect(chat.answers).toHaveCount(2);
  await chat.done();
  await expect(chat.text).toContainText('system: default');
  await expect(chat.text).toContainText('top-p: 0.5');
  await expect(chat.text).toContainText('most tokens: 300');

  await chat.open(page.url());
  await opener(chat).click();
  await expect(form.getByLabel('Top-p')).toHaveValue('0.5');
  await expect(form.getByLabel('Thinking')).toHaveValue('high');
  // Another chat has its own.
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'New chat', exact: true }).click();
  await expect(page).toHaveURL(`${server.url}/`);
  await opener(chat).click();
  await expect(form.getByLabel('Top-p')).toHaveValue('');
});

test('Escape and Cancel change nothing, and wrong numbers are not taken', async ({ server, chat, page }) => {
  const { conversation } = await server.ask('hello');
  await server.over(conversation);
  await chat.open(`${server.url}/c/${conversation}`);
  const form = dialog(chat);
  for (const leave of ['Escape', 'Cancel'] as const) {
    await opener(chat).focus();
    await page.keyboard.press('Enter');
    await form.getByLabel('Temperature').fill('1.5');
    if (leave === 'Escape') await page.keyboard.press('Escape');
    else await form.getByRole('button', { name: 'Cancel' }).click();
    await expect(form).toBeHidden();
    await expect(opener(chat)).toBeFocused();
  }
  await opener(chat).click();
  await expect(form.getByLabel('Temperature')).toHaveValue('');
  await form.getByLabel('Temperature').fill('3');
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(form).toBeVisible();
  await form.getByLabel('Temperature').fill('');
  await form.getByLabel('System prompt').fill('ü'.repeat(20_000));
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(form.getByRole('alert')).toContainText('At most 32 kB');
  await server.end();
  await form.getByLabel('System prompt').fill('Be brief.');
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(form.getByRole('alert')).not.toContainText('kB');
  await expect(form.getByLabel('System prompt')).toHaveValue('Be brief.');
});

test('providers are listed with what is wrong and how to mend it', async ({ server, chat, page }) => {
  const vendor = createServer((_, response) => {
    response.writeHead(401, { 'content-type': 'application/json' });
    response.end('{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error"}}');
  });
  await new Promise<void>((done) => vendor.listen(0, '127.0.0.1', done));
  const { port } = vendor.address() as AddressInfo;
  await server.startedWith({ OPENAI_API_KEY: 'wrong', OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` });
  for (let time = 0; time < 3; time++) {
    const { conversation } = await server.ask('error-before-overloaded');
    await server.over(conversation);
  }
  await chat.open(server.url);
  await page.getByRole('button', { name: 'Providers' }).click();
  const list = page.getByRole('dialog', { name: 'Providers' });
  const scripted = list.getByRole('listitem').filter({ hasText: 'scripted' });
  await expect(scripted).toContainText('too much to do');
  await expect(scripted).toContainText(/asked first for \d+ s/);
  const openai = list.getByRole('listitem').filter({ hasText: 'openai' });
  await expect(openai).toContainText('0 models');
  await expect(openai).toContainText('Set OPENAI_API_KEY to a key that it accepts');
  await expect(list).toContainText('ANTHROPIC_API_KEY');
  await screenshots(page, 'providers');
  await list.getByRole('button', { name: 'Close' }).click();
  await expect(list).toBeHidden();
  // The picker says so, until the provider answers again.
  const hello = page.getByLabel('Model', { exact: true }).locator('option[value="scripted/hello"]');
  await expect(hello).toHaveText('hello (failing now)');
  await chat.choose('hello');
  await screenshots(page, 'picker');
  await chat.send('Are you well?');
  await chat.done();
  await page.getByRole('button', { name: 'Providers' }).click();
  await expect(hello).toHaveText('hello');
  await expect(page.getByLabel('Model', { exact: true })).toHaveValue('scripted/hello');
  await new Promise((done) => vendor.close(done));
});
