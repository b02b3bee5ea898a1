import AxeBuilder from '@axe-core/playwright';
import { expect, screenshot, SCREENS, test } from './server';

for (const scheme of ['light', 'dark'] as const) {
  for (const [device, viewport] of Object.entries(SCREENS)) {
    test(`${device}, ${scheme}: axe finds nothing and nothing is wider than the screen`, async ({ server, chat, page }) => {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' });
      await page.setViewportSize(viewport);
      const check = async (name: string) => {
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        expect(width, name).toBeLessThanOrEqual(viewport.width);
        const { violations } = await new AxeBuilder({ page }).analyze();
        expect(violations.map((violation) => `${name}: ${violation.id} ${violation.nodes[0]?.html}`)).toEqual([]);
        await screenshot(page, name);
      };
      await chat.open(server.url);
      await check('new-chat');
      await page.getByRole('button', { name: 'Settings of this chat' }).click();
      await check('settings');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Providers' }).click();
      await check('providers');
      await page.keyboard.press('Escape');
      const { conversation } = await server.ask('markdown', 'Show me what you can set in type.');
      await server.over(conversation);
      await chat.open(`${server.url}/c/${conversation}`);
      await check('chat');
      const cut = await server.ask('cut', 'What happens when the line is cut?');
      await server.over(cut.conversation);
      await chat.open(`${server.url}/c/${cut.conversation}`);
      await check('error');
    });
  }
}

test('no layout shift while text arrives, and a scroll up is respected', async ({ server, chat, page }) => {
  await chat.open(server.url);
  await chat.choose('long');
  await chat.send('A long one, please.');
  await page.evaluate(() => {
    const state = window as unknown as { shift: number };
    state.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) state.shift += (entry as unknown as { value: number }).value;
    }).observe({ type: 'layout-shift' });
  });
  await chat.words(4000);
  expect(await page.evaluate(() => (window as unknown as { shift: number }).shift)).toBeLessThan(0.05);
  await page.mouse.move(640, 300);
  await page.mouse.wheel(0, -600);
  const jump = page.getByRole('button', { name: 'Jump to latest' });
  await expect(jump).toBeVisible();
  const first = chat.text.locator('.block').first();
  const place = (await first.boundingBox())!.y;
  await chat.words(((await chat.text.textContent()) ?? '').length + 400);
  expect(Math.abs((await first.boundingBox())!.y - place)).toBeLessThan(3);
  await jump.click();
  await expect(jump).toBeHidden();
  await page.getByRole('button', { name: 'Stop' }).click();
});
