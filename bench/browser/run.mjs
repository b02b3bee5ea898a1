// Plays one recording after the other into Chromium and writes down what each page's main thread
// does with it. Started by the section "browser" of `make bench`:
//
//   node run.mjs '{"headwater":URL,"port":PORT,"out":FILE,"runs":[{"page":NAME,"tokens":N,"rate":N}]}'
//
// OUT becomes `{ chromium, runs }`, each run with its figures or an error.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { measure } from './measure.mjs';
import { Player } from './player.mjs';

const PEERS = {
  marked: 'marked.js',
  nothing: 'nothing.js',
  'react-markdown': 'react-markdown.jsx',
  streamdown: 'streamdown.jsx',
};
// As in end2end/playwright.config.ts.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const { headwater, port, out, runs } = JSON.parse(process.argv[2]);
const pages = await mkdtemp(join(tmpdir(), 'headwater-bench-'));
const player = new Player(pages);
let browser;
try {
  await bundle();
  await player.listen(port);
  browser = await chromium.launch({ executablePath: process.env.PLAYWRIGHT_CHROMIUM || undefined, args: FLAGS });
  const measured = [];
  for (const run of runs) {
    const figures = await measure(browser, player, headwater, run).catch((error) => ({ error: error.message }));
    measured.push({ ...run, ...figures });
    console.log(JSON.stringify(measured.at(-1)));
  }
  await writeFile(out, JSON.stringify({ chromium: browser.version(), runs: measured }));
} finally {
  await browser?.close();
  player.close();
  await rm(pages, { recursive: true, force: true });
}

async function bundle() {
  await build({
    entryPoints: Object.entries(PEERS).map(([out, file]) => ({ in: file, out })),
    absWorkingDir: import.meta.dirname,
    outdir: pages,
    bundle: true,
    minify: true,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  });
  for (const name of Object.keys(PEERS)) {
    const style = 'body { max-width: 46rem; margin: 0 auto; font: 16px/1.6 sans-serif; }';
    await writeFile(
      join(pages, `${name}.html`),
      `<!doctype html><html lang="en"><meta charset="utf-8"><title>${name}</title><style>${style}</style>` +
        `<div id="answer"></div><script type="module" src="${name}.js"></script></html>`,
    );
  }
}
