import AxeBuilder from '@axe-core/playwright';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, screenshots, test } from './server';

test('the connection doctor finds nothing on a straight way, and is led to from the settings', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await page.getByRole('button', { name: 'Settings of this chat' }).click();
  await page.getByRole('link', { name: 'Check the connection' }).click();
  await expect(page).toHaveURL(/\/doctor$/);
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await expect(page.getByRole('status')).toContainText('Measuring');
  await expect(page.getByRole('status')).toHaveText('All is well.', { timeout: 20_000 });
  const found = page.getByRole('listitem');
  await expect(found.filter({ hasText: 'Events come as they are sent' })).toBeVisible();
  await expect(found.filter({ hasText: 'WebSockets pass' })).toBeVisible();
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map((violation) => `${violation.id} ${violation.nodes[0]?.html}`)).toEqual([]);
  await page.getByRole('link', { name: 'Back to Headwater' }).click();
  await expect(chat.composer).toBeVisible();
});

test('the connection doctor names a proxy that collects streams, and the setting to change', async ({ server, page }) => {
  // It gives itself out for nginx, refuses upgrades, and sends what it has collected at the end.
  const proxy = createServer((asked, answer) => {
    const port = new URL(server.url).port;
    const options = { host: '127.0.0.1', port, path: asked.url, method: asked.method, headers: asked.headers };
    const inner = request(options, (response) => {
      const body: Buffer[] = [];
      response.on('data', (bytes) => body.push(bytes));
      response.on('end', () => {
        answer.writeHead(response.statusCode!, { ...response.headers, server: 'nginx/1.22.1' });
        answer.end(Buffer.concat(body));
      });
    });
    inner.on('error', () => answer.destroy());
    asked.pipe(inner);
  });
  proxy.on('upgrade', (_, socket) => socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n'));
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  try {
    await page.goto(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}/doctor`);
    await page.getByRole('button', { name: 'Check', exact: true }).click();
    await expect(page.getByRole('status')).toHaveText('2 things are wrong.', { timeout: 20_000 });
    const held = page.getByRole('listitem').filter({ hasText: 'Events are held back' });
    await expect(held).toContainText('nginx');
    await expect(held).toContainText('proxy_buffering off;');
    await expect(page.getByRole('listitem').filter({ hasText: 'WebSockets do not pass' })).toContainText('Upgrade');
    await screenshots(page, 'doctor');
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map((violation) => `${violation.id} ${violation.nodes[0]?.html}`)).toEqual([]);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});
