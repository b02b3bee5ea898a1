import { defineConfig } from '@playwright/test';

// Every spec starts its own server through a fixture, so there is no `webServer` here.
export default defineConfig({
  testDir: '.',
  workers: 2,
  // Generous, because continuous integration runs this on two busy cores.
  timeout: 120_000,
  expect: { timeout: 15_000 },
  retries: process.env.CI ? 1 : 0,
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  use: {
    screenshot: 'only-on-failure',
    trace: 'retain-on-failure',
    launchOptions: {
      // Set by `scripts/setup.sh env` where Debian's Chromium is used; otherwise Playwright's own.
      executablePath: process.env.PLAYWRIGHT_CHROMIUM || undefined,
      // No sandbox, because containers run the tests as root; the rest keeps Chromium from
      // calling its maker's servers.
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
  projects: [{ name: 'chromium', use: { browserName: 'chromium' } }],
});
