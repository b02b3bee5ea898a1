import { expect, screenshots, test, type Chat } from './server';
import type { Locator, Page } from '@playwright/test';

/** Which way an element is written. */
const direction = (element: Locator) => element.evaluate((element) => getComputedStyle(element).direction);

/** An answer of our own words: the script speaks what it is asked. */
async function says(chat: Chat, url: string, answer: string) {
  await chat.open(url);
  await chat.choose('echo');
  await chat.send(answer);
  await chat.done();
}

test('emphasis beside CJK punctuation is emphasis in every frame', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('echo');
  const states = await chat.watch();
  await chat.send('**「はい」**は**手順：**三つ、**核对：**12、~~（旧）~~新');
  await chat.done();
  const seen = await states();
  expect(seen.length).toBeGreaterThan(1);
  expect(seen.filter((text) => /[*~]/.test(text))).toEqual([]);
  await expect(chat.text.locator('strong')).toHaveText(['「はい」', '手順：', '核对：']);
  await expect(chat.text.locator('del')).toHaveText('（旧）');
  const streamed = await chat.text.innerHTML();
  await page.reload();
  expect(await chat.text.innerHTML()).toBe(streamed);
});

test('every block is written the way of its own first letter', async ({ server, chat, page }) => {
  const answer = [
    'שלום, **עולם**.',
    '- פריט ראשון\n- API שני',
    '* API ראשון\n* פריט שני',
    '> ציטוט קצר',
    '| שם | ערך |\n|---|---|\n| אחד | 1 |',
    '```js\nconst a = "שלום";\n```',
    'An English end.',
  ].join('\n\n');
  await says(chat, server.url, answer);
  const of = (which: string) => direction(chat.text.locator(which).first());
  expect(await of('p')).toBe('rtl');
  const lists = chat.text.locator('.block > ul');
  expect(await direction(lists.first())).toBe('rtl');
  expect(await direction(lists.first().locator('li').last())).toBe('ltr');
  expect(await direction(lists.last())).toBe('ltr');
  expect(await direction(lists.last().locator('li').last())).toBe('rtl');
  expect(await of('blockquote')).toBe('rtl');
  expect(await of('table')).toBe('rtl');
  expect(await of('td')).toBe('rtl');
  expect(await of('pre')).toBe('ltr');
  expect(await of('pre code')).toBe('ltr');
  expect(await direction(chat.text.locator('p').last())).toBe('ltr');
  // Room for the markers is on the side where the text begins.
  const room = (item: Locator, side: 'marginLeft' | 'marginRight') =>
    item.evaluate((item, side) => parseFloat(getComputedStyle(item)[side]), side);
  expect(await room(lists.first().locator('li').first(), 'marginRight')).toBeGreaterThan(10);
  expect(await room(lists.first().locator('li').first(), 'marginLeft')).toBe(0);
  expect(await room(lists.last().locator('li').first(), 'marginLeft')).toBeGreaterThan(10);
  const quote = await chat.text.locator('blockquote').evaluate((quote) => {
    const { borderLeftWidth, borderRightWidth } = getComputedStyle(quote);
    return [borderLeftWidth, borderRightWidth];
  });
  expect(quote).toEqual(['0px', '3px']);
  const said = chat.log.getByRole('article', { name: 'You' }).locator('.said');
  expect(await direction(said)).toBe('rtl');
  await screenshots(page, 'right-to-left');
  await page.reload();
  expect(await of('blockquote')).toBe('rtl');
});

test('what is typed from right to left is shown so', async ({ server, chat, page }) => {
  await says(chat, server.url, 'שאלה ראשונה');
  await chat.composer.fill('שלום');
  expect(await direction(chat.composer)).toBe('rtl');
  await chat.composer.fill('hello');
  expect(await direction(chat.composer)).toBe('ltr');
  const list = page.getByRole('navigation', { name: 'Conversations' });
  expect(await direction(list.locator('.item .text').first())).toBe('rtl');
  expect(await direction(page.locator('h1.title'))).toBe('rtl');
  const question = chat.log.getByRole('article', { name: 'You' });
  await question.hover();
  await question.getByRole('button', { name: 'Edit' }).click();
  expect(await direction(page.getByRole('textbox', { name: 'New wording' }))).toBe('rtl');
});

/** A key as browsers tell of it while an input method has it. */
async function composed(field: Locator, key: string, how: KeyboardEventInit) {
  await field.evaluate(
    (field, [key, how]) => {
      const event = { key, bubbles: true, cancelable: true, composed: true, ...how };
      field.dispatchEvent(new KeyboardEvent('keydown', event));
    },
    [key, how] as const,
  );
}

const WAYS: KeyboardEventInit[] = [{ isComposing: true }, { keyCode: 229 } as KeyboardEventInit];

/** Presses Enter and Escape in every way that belongs to an input method. */
async function composes(field: Locator) {
  for (const how of WAYS) for (const key of ['Enter', 'Escape', ' ']) await composed(field, key, how);
}

/** What a real composition does: a word is begun, and Escape takes it back. */
async function compose(page: Page, word: string) {
  const session = await page.context().newCDPSession(page);
  await session.send('Input.imeSetComposition', { text: word, selectionStart: word.length, selectionEnd: word.length });
  return session;
}

test('the keys of an input method send, stop, rename and close nothing', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('long');
  await chat.composer.fill('か');
  await composes(chat.composer);
  await expect(page).toHaveURL(server.url + '/');
  await expect(chat.composer).toHaveValue('か');

  await chat.send('First');
  await chat.words(1);
  const stop = page.getByRole('button', { name: 'Stop' });
  await chat.composer.focus();
  const session = await compose(page, 'かん');
  await expect(chat.composer).toHaveValue('かん');
  await composes(chat.composer);
  await composes(page.locator('body'));
  await expect(chat.composer).toHaveValue('かん');
  await session.send('Input.insertText', { text: '感' });
  await expect(chat.composer).toHaveValue('感');
  await expect(stop).toBeVisible();

  const list = page.getByRole('navigation', { name: 'Conversations' });
  const search = list.getByRole('searchbox');
  await search.fill('F');
  await composes(search);
  await expect(search).toHaveValue('F');
  await search.fill('');

  await list.locator('.item').first().hover();
  await list.getByRole('button', { name: /^More/ }).first().click();
  await page.getByRole('button', { name: 'Rename' }).click();
  const name = page.getByRole('textbox', { name: 'Name of the conversation' });
  await name.fill('かな');
  await composes(name);
  await expect(name).toHaveValue('かな');
  await name.press('Escape');
  await expect(name).toHaveCount(0);
  await expect(list.locator('.item').first()).toContainText('First');

  const question = chat.log.getByRole('article', { name: 'You' }).first();
  await question.hover();
  await question.getByRole('button', { name: 'Edit' }).click();
  const wording = page.getByRole('textbox', { name: 'New wording' });
  await wording.fill('かな');
  await composes(wording);
  await expect(wording).toHaveValue('かな');
  await wording.press('Escape');
  await expect(wording).toHaveCount(0);

  await page.getByRole('button', { name: 'Settings of this chat' }).click();
  const system = page.getByLabel('System prompt');
  await system.fill('かな');
  await composes(system);
  await expect(page.getByRole('dialog')).toBeVisible();
  // The browser closes a dialog by itself unless it is told not to.
  const prevented = await system.evaluate((field) => {
    const event = { key: 'Escape', bubbles: true, cancelable: true, isComposing: true };
    return !field.dispatchEvent(new KeyboardEvent('keydown', event));
  });
  expect(prevented).toBe(true);
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);

  // All that time the answer went on; the key itself still stops it.
  await expect(stop).toBeVisible();
  await chat.composer.focus();
  await page.keyboard.press('Escape');
  await expect(stop).toHaveCount(0);
});
