import { expect, test, type Server } from './server';

/** A question that is answered by its own words; returns its conversation when the answer is whole. */
async function say(server: Server, text: string, conversation?: string): Promise<string> {
  const body = new URLSearchParams({ text, model: 'scripted/echo' });
  if (conversation) body.set('conversation', conversation);
  const response = await fetch(`${server.url}/api/runs/start`, { method: 'POST', body });
  expect(response.ok, String(response.status)).toBeTruthy();
  const started = (await response.json()) as { run: string; conversation: string };
  // The stream ends with the answer.
  await (await fetch(`${server.url}/api/runs/events?run=${started.run}`)).text();
  return started.conversation;
}

const CHATS = 130;

async function manyChats(server: Server) {
  await say(server, 'Привіт, найстаріша розмова');
  for (let at = 1; at < CHATS; at++) await say(server, `Chat number ${at}`);
}

test('the list of conversations goes on to the oldest while one scrolls, and stays when new ones come', async ({ server, chat, page }) => {
  await manyChats(server);
  await chat.open(server.url);
  const list = page.getByRole('navigation', { name: 'Conversations' });
  const rows = list.locator('.item > a');
  await expect(rows).toHaveCount(50);
  // By keyboard. (A focus that scrolls there loads more by itself.)
  await list.getByRole('link', { name: 'Show more' }).evaluate((link: HTMLElement) => link.focus({ preventScroll: true }));
  await page.keyboard.press('Enter');
  await expect(rows).toHaveCount(100);
  await expect(list.getByRole('link', { name: 'Show more' })).toBeFocused();
  // By scrolling.
  await list.locator('.list').hover();
  await page.mouse.wheel(0, 100_000);
  await expect(rows).toHaveCount(CHATS);
  await expect(list.getByRole('link', { name: 'Show more' })).toBeHidden();
  await expect(rows.last()).toContainText('Привіт');
  await expect(list.getByRole('heading', { name: 'Today' })).toHaveCount(1);
  // A new one comes at the top, and nothing that was listed goes.
  const oldest = await rows.last().elementHandle();
  await chat.choose('echo');
  await chat.send('The newest');
  await chat.done();
  await expect(rows).toHaveCount(CHATS + 1);
  await expect(rows.first()).toContainText('The newest');
  const addresses = await rows.evaluateAll((all) => all.map((row) => row.getAttribute('href')));
  expect(new Set(addresses).size).toBe(CHATS + 1);
  expect(await oldest!.evaluate((row) => row.isConnected), 'rows are kept').toBe(true);
  // Its menu is made when it is opened.
  await rows.last().scrollIntoViewIfNeeded();
  await rows.last().hover();
  await list.getByRole('button', { name: /^More: Привіт/ }).click();
  await page.getByRole('button', { name: 'Pin', exact: true }).click();
  await expect(list.getByRole('heading', { name: 'Pinned' })).toBeVisible();
  await expect(rows.first()).toContainText('Привіт');
  await expect(rows).toHaveCount(CHATS + 1);
});

test('a search finds what was said in other alphabets, page by page', async ({ server, chat, page }) => {
  await say(server, 'Ärger im Büro');
  for (let at = 0; at < 60; at++) await say(server, `Привіт номер ${at}`);
  await chat.open(server.url);
  const list = page.getByRole('navigation', { name: 'Conversations' });
  const rows = list.locator('.item > a');
  const field = page.getByRole('searchbox', { name: 'Search conversations' });
  await field.fill('bu\u0308ro');
  await expect(rows).toHaveCount(1);
  await field.fill('ПРИВІТ');
  await expect(rows).toHaveCount(50);
  // Not by a click, which scrolls there first and so loads more by itself.
  await list.locator('.list').hover();
  await page.mouse.wheel(0, 100_000);
  await expect(rows).toHaveCount(60);
  await field.fill('nowhere');
  await expect(list).toContainText('Nothing found.');
});

test('a long conversation goes on to its first message while one scrolls up, and nothing jumps', async ({ server, chat, page }) => {
  const TURNS = 50;
  const words = 'Some words that fill a line or two, and then some. '.repeat(25);
  const conversation = await say(server, `Question 0. ${words}`);
  for (let turn = 1; turn < TURNS; turn++) await say(server, `Question ${turn}. ${words}`, conversation);
  await chat.open(`${server.url}/c/${conversation}`);
  const questions = chat.log.getByRole('article', { name: 'You' });
  await expect(questions.last()).toContainText(`Question ${TURNS - 1}.`);
  const earlier = chat.log.getByRole('button', { name: 'Show earlier messages' });
  let count = await questions.count();
  expect(count).toBeLessThan(TURNS / 2);

  // Whichever way they are asked for, what the reader sees stays where it is. The answer is held
  // until the scrolling is over, so that nothing else moves.
  let release = () => {};
  let held = Promise.resolve();
  await page.route('**/api/conversations/load?*before=*', async (route) => {
    await held;
    await route.continue();
  });
  const top = () => chat.log.evaluate((log) => log.scrollTop);
  const ask = async () => {
    const asked = page.waitForRequest(/conversations\/load\?.*before=/);
    if (count < 15) {
      await chat.log.evaluate((log) => (log.scrollTop = 1500));
      await earlier.evaluate((button: HTMLElement) => button.focus({ preventScroll: true }));
      await page.keyboard.press('Enter');
    } else {
      await chat.log.hover();
      while ((await top()) > 600) await page.mouse.wheel(0, -200);
    }
    await asked;
  };
  let buttons = 0;
  while ((count = await questions.count()) < TURNS) {
    held = new Promise((done) => (release = done));
    await ask();
    buttons += Number(count < 15);
    for (let before = -1; before !== (await top()); await page.waitForTimeout(100)) before = await top();
    const seen = await chat.log.evaluateHandle((log) => {
      const { top, bottom } = log.getBoundingClientRect();
      const edges = (element: Element) => element.getBoundingClientRect();
      return [...log.querySelectorAll('article')].find((one) => edges(one).bottom > top + 1 && edges(one).top < bottom)!;
    });
    const place = () => seen.evaluate((element) => element.getBoundingClientRect().bottom);
    const before = await place();
    release();
    await expect.poll(() => questions.count()).toBeGreaterThan(count);
    expect(Math.abs((await place()) - before), `after ${count} questions`).toBeLessThan(3);
  }
  expect(buttons, 'by button and by scrolling').toBe(1);
  await expect(earlier).toBeHidden();
  const numbers = await questions.evaluateAll((all) => all.map((one) => Number(one.textContent!.match(/Question (\d+)\./)![1])));
  expect(numbers).toEqual([...Array(TURNS).keys()]);
  await expect(chat.answers).toHaveCount(TURNS);

  // What was loaded stays when the conversation goes on.
  await chat.choose('echo');
  await chat.send('One more');
  await expect(questions).toHaveCount(TURNS + 1);
  await chat.done();
  await expect(chat.answers).toHaveCount(TURNS + 1);
  await expect(questions.first()).toContainText('Question 0.');
  expect(await server.stored(conversation)).toContain('One more');

  // Another version of an early message, and back.
  const edited = questions.nth(3);
  await edited.hover();
  await edited.getByRole('button', { name: 'Edit' }).click();
  await page.getByRole('textbox', { name: 'New wording' }).fill('Another wording');
  await page.getByRole('button', { name: 'Ask again' }).click();
  await expect(questions).toHaveCount(4);
  await chat.done();
  await questions.last().hover();
  await questions.last().getByRole('button', { name: 'Previous' }).click();
  await expect(chat.log).toContainText('One more');
  await expect(questions.first()).toContainText('Question 0.');
});

test.describe('without script', () => {
  test.use({ javaScriptEnabled: false });

  test('the oldest conversation and the first message are reached by links', async ({ server, page }) => {
    await manyChats(server);
    await page.goto(server.url);
    await page.getByRole('link', { name: 'Show more' }).click();
    await expect(page).toHaveURL(/\/plain\/conversations/);
    await page.getByRole('link', { name: 'Show more' }).click();
    await page.getByRole('link', { name: 'Привіт' }).click();
    await expect(page).toHaveURL(/\/plain\//);
    await expect(page.getByRole('article', { name: 'You' })).toContainText('Привіт');

    const words = 'Words. '.repeat(500);
    const conversation = await say(server, `Question 0. ${words}`);
    for (let turn = 1; turn < 12; turn++) await say(server, `Question ${turn}. ${words}`, conversation);
    await page.goto(`${server.url}/plain/${conversation}`);
    await expect(page.getByRole('log')).toContainText('Question 11.');
    while (!(await page.getByRole('log').textContent())!.includes('Question 0.')) {
      await page.getByRole('link', { name: 'Show earlier messages' }).click();
    }
    await page.getByRole('link', { name: 'Show the latest messages' }).click();
    await expect(page.getByRole('textbox', { name: 'Message' })).toBeVisible();
  });
});
