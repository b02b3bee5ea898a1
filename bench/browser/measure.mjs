// One recording on one page.
import { setTimeout as sleep } from 'node:timers/promises';
import { END, visibleWords } from './recording.mjs';

/** Milliseconds that a page may stay behind the end of the stream. */
const PATIENCE = 20_000;
/** Milliseconds in which a page comes to rest, once it is loaded. */
const REST = 500;
/** Milliseconds between two looks at a page that is behind. */
const LOOK = 100;
/** The element whose children are the blocks of the answer. */
const ANSWERS = {
  Headwater: '.answer .prose',
  marked: '#answer',
  nothing: '#answer',
  'react-markdown': '#answer',
  streamdown: '#answer > div',
};

/**
 * Plays `{ page, tokens, rate }` and returns what the page's main thread did with it: see `Played` in
 * bench/src/peers/browser.rs.
 */
export async function measure(browser, player, headwater, run) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const page = await context.newPage();
    await page.addInitScript(observe);
    const opened = within(PATIENCE, open(page, player, headwater, run).then(() => true));
    if (!(await opened)) throw new Error('the page does not ask for its stream');
    const client = await context.newCDPSession(page);
    // The thread's processor time: what else the machine does is not counted.
    await client.send('Performance.enable', { timeDomain: 'threadTicks' });
    await sleep(REST);
    await page.evaluate(() => window.observed.begin());
    const before = await metrics(client);
    const begin = performance.now();
    const played = player.play();
    const limit = (run.tokens / run.rate) * 1000 + PATIENCE;
    const isInTime = await within(limit, played.then(() => shown(page, run)));
    const recording = player.recording(run.tokens).join('');
    return {
      isInTime: isInTime === true,
      tookMs: performance.now() - begin,
      // Nothing of a page that is too busy to answer.
      figures: await within(PATIENCE, figures(page, client, before, recording, run)),
    };
  } finally {
    player.eject();
    await context.close();
  }
}

/** Runs in the page before all of its own scripts. */
function observe() {
  const observed = { longTasks: [], frames: [], memories: [] };
  const longTasks = new PerformanceObserver((list) => note(list.getEntries()));
  const note = (entries) => observed.longTasks.push(...entries.map((entry) => entry.duration));
  let last;
  const frame = (now) => {
    if (last !== undefined) observed.frames.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  observed.begin = () => {
    longTasks.observe({ type: 'longtask' });
    requestAnimationFrame(frame);
  };
  observed.end = () => {
    note(longTasks.takeRecords());
    return {
      longTasks: observed.longTasks.length,
      longestTaskMs: Math.max(0, ...observed.longTasks),
      frames: observed.frames.length,
      lateFrames: observed.frames.filter((gap) => gap > 33).length,
      wasm: observed.memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0),
    };
  };
  // The heap of a page does not count the memory of its WebAssembly.
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...all) => {
      const result = await original.apply(WebAssembly, all);
      const { memory } = (result.instance ?? result).exports;
      if (memory) observed.memories.push(memory);
      return result;
    };
  }
  window.observed = observed;
}

/** Opens the page of a run, which waits for its stream then. */
async function open(page, player, headwater, run) {
  const question = player.load(run);
  if (run.page !== 'Headwater') {
    await page.goto(`${player.url}/${run.page}.html?${question}`);
    return player.asked();
  }
  const body = new URLSearchParams({ text: question, model: 'bench/bench' });
  const response = await fetch(`${headwater}/api/runs/start`, { method: 'POST', body });
  if (!response.ok) throw new Error(`Headwater answers ${response.status}`);
  const { conversation } = await response.json();
  await player.asked();
  await page.goto(`${headwater}/c/${conversation}`);
  await page.locator('html[data-hydrated]').waitFor({ state: 'attached' });
}

/** Waits until the end of the recording is on the page. */
async function shown(page, { page: name }) {
  const last = (answer) => document.querySelector(answer)?.lastElementChild?.textContent ?? '';
  while (!(await page.evaluate(last, ANSWERS[name])).includes(END)) await sleep(LOOK);
  return true;
}

async function figures(page, client, before, recording, run) {
  const after = await metrics(client);
  const observed = await page.evaluate(() => window.observed.end());
  const text = await page.evaluate((answer) => document.querySelector(answer)?.textContent ?? '', ANSWERS[run.page]);
  await client.send('HeapProfiler.collectGarbage');
  const { JSHeapUsedSize } = await metrics(client);
  const spent = (...names) =>
    (names.reduce((sum, name) => sum + after[name] - before[name], 0) * 1_000_000) / run.tokens;
  const { wasm, ...counts } = observed;
  return {
    mainThreadMs: spent('TaskDuration'),
    scriptMs: spent('ScriptDuration'),
    layoutMs: spent('LayoutDuration', 'RecalcStyleDuration'),
    ...counts,
    memory: JSHeapUsedSize + wasm,
    isWhole: isWhole(text, recording),
  };
}

/** Whether all words of a recording are in a text, in order. Pages add words of their own. */
function isWhole(text, recording) {
  const letters = text.replaceAll(/\s/g, '');
  let at = 0;
  return visibleWords(recording).every((word) => {
    const found = letters.indexOf(word, at);
    at = found + word.length;
    return found >= 0;
  });
}

async function metrics(client) {
  const { metrics } = await client.send('Performance.getMetrics');
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

/** What a promise gives, or nothing after `ms` milliseconds. */
async function within(ms, promise) {
  const late = new AbortController();
  try {
    return await Promise.race([promise, sleep(ms, undefined, { signal: late.signal }).catch(() => undefined)]);
  } finally {
    late.abort();
    promise.catch(() => undefined);
  }
}
