import { deflateSync } from 'node:zlib';
import { expect, screenshots, test, type Chat, type Server } from './server';

/** A square of one colour as a PNG file. */
function square(red: number, green: number, blue: number, side = 300): Buffer {
  const row = Buffer.concat([Buffer.from([0]), Buffer.concat(Array(side).fill(Buffer.from([red, green, blue])))]);
  const crc = (bytes: Buffer) => {
    let sum = ~0;
    for (const byte of bytes) {
      sum ^= byte;
      for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return ~sum >>> 0;
  };
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const chunk = (kind: string, data: Buffer) => {
    const named = Buffer.concat([Buffer.from(kind), data]);
    return Buffer.concat([number(data.length), named, number(crc(named))]);
  };
  const head = Buffer.concat([number(side), number(side), Buffer.from([8, 2, 0, 0, 0])]);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(Buffer.concat(Array(side).fill(row)))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

const file = (name: string, buffer: Buffer) => ({ name, mimeType: 'image/png', buffer });
const attached = (chat: Chat) => chat.page.getByRole('list', { name: 'Attached images' }).getByRole('img');
const shown = (chat: Chat) => chat.page.getByRole('article', { name: 'You' }).last().getByRole('img');

async function images(server: Server, chat: Chat) {
  const messages = (await server.messages(chat.conversation)) as unknown as { images?: string[] }[];
  return messages.at(-2)!.images ?? [];
}

test('images are attached, taken off again, sent, and still there after a reload', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('hello');
  const field = page.getByLabel('Attach images');
  await field.setInputFiles([file('a.png', square(20, 110, 120)), file('b.png', square(200, 120, 40))]);
  await expect(attached(chat)).toHaveCount(2);
  await screenshots(page, 'images-attached');
  await page.getByRole('list', { name: 'Attached images' }).getByRole('button', { name: 'Remove' }).first().click();
  await expect(attached(chat)).toHaveCount(1);
  await chat.send('What colour is it?');
  await chat.done();
  await expect(attached(chat)).toHaveCount(0);
  await expect(shown(chat)).toHaveCount(1);
  expect(await shown(chat).evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(300);
  expect(await images(server, chat)).toHaveLength(1);
  await screenshots(page, 'images-sent');
  await page.reload();
  await expect(shown(chat)).toHaveCount(1);

  // Another wording keeps the image.
  const question = chat.log.getByRole('article', { name: 'You' });
  await question.hover();
  await question.getByRole('button', { name: 'Edit' }).click();
  await page.getByRole('textbox', { name: 'New wording' }).fill('And now?');
  await page.getByRole('textbox', { name: 'New wording' }).press('Enter');
  await expect(question).toContainText('And now?');
  await chat.done();
  await expect(shown(chat)).toHaveCount(1);
  expect(await images(server, chat)).toHaveLength(1);
});

test('what cannot be attached is said, and an image alone is a message', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('hello');
  const field = page.getByLabel('Attach images');
  await field.setInputFiles(file('no.png', Buffer.from('no image')));
  await expect(page.getByRole('alert')).toContainText('This is not a PNG, JPEG, WebP or GIF image.');
  await field.setInputFiles(file('large.png', Buffer.concat([square(1, 2, 3), Buffer.alloc(5_000_000)])));
  await expect(page.getByRole('alert')).toContainText('An image may have 5 MB at most.');
  await field.setInputFiles(file('a.png', square(20, 110, 120)));
  await expect(attached(chat)).toHaveCount(1);
  await expect(page.getByRole('alert')).toHaveCount(0);
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(shown(chat)).toHaveCount(1);
  await expect(page.getByRole('article', { name: 'Assistant' }).locator('.prose')).toContainText('script');
});

test('a pasted image is attached', async ({ server, chat, page }) => {
  await chat.open(server.url);
  const base64 = square(20, 110, 120).toString('base64');
  await page.getByRole('textbox', { name: 'Message' }).evaluate((field, base64) => {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], 'a.png', { type: 'image/png' }));
    field.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
  }, base64);
  await expect(attached(chat)).toHaveCount(1);
});

test('a message waits for its image', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('hello');
  let arrive = () => {};
  const held = new Promise<void>((done) => (arrive = done));
  await page.route('**/api/images', async (route) => {
    await held;
    await route.continue();
  });
  await page.getByLabel('Attach images').setInputFiles(file('a.png', square(20, 110, 120)));
  await chat.composer.fill('What colour is it?');
  await chat.composer.press('Enter');
  await expect(page.locator('.coming')).toBeVisible();
  await expect(chat.composer).toHaveValue('What colour is it?');
  arrive();
  await expect(attached(chat)).toHaveCount(1);
  await chat.composer.press('Enter');
  await expect(shown(chat)).toHaveCount(1);
  await chat.done();
  expect(await images(server, chat)).toHaveLength(1);
});
