// Pictures of seven pages, out of the demonstration, into docs/images. MESHWARD names the program.

import { mkdirSync, statSync } from 'node:fs';
import { browser, open } from '../tests/lib/browser.mjs';
import { Demo, until } from '../tests/lib/demo.mjs';

const FOLDER = new URL('../../docs/images/', import.meta.url).pathname;
/** Longest picture, in bytes: they are in the repository, and in a page that people load. */
const BYTES_MAX = 200 * 1024;

mkdirSync(FOLDER, { recursive: true });

/** Takes pictures of pages, each when its mark is there. */
async function take(chromium, demo, pages) {
  const { page, faults, close } = await open(chromium, { viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  for (const [name, path, mark] of pages) {
    await page.goto(demo.url + path);
    await page.locator(mark).first().waitFor();
    // Charts and the tree are drawn a frame after their data.
    await page.waitForLoadState('networkidle', { timeout: 2_000 }).catch(() => {});
    const file = `${FOLDER}${name}.png`;
    await page.screenshot({ path: file });
    const { size } = statSync(file);
    console.log(`${String(size).padStart(8)}  docs/images/${name}.png`);
    if (size > BYTES_MAX) throw new Error(`${name}.png has ${size} bytes: ${BYTES_MAX} are the most`);
  }
  await close();
  if (faults.length > 0) throw new Error(faults.join('\n'));
}

/** The mesh as it lives by itself. */
async function living(chromium) {
  const demo = await Demo.start();
  try {
    // Once the first update is under way, there is something to see on every page.
    await until(async () => (await demo.get('/api/v1/rollouts')).items.length > 0, 'the first update', 180_000);
    const weak = (await demo.nodes()).toSorted((a, b) => (a.score.points ?? 100) - (b.score.points ?? 100))[0];
    await take(chromium, demo, [
      ['firmware', '/firmware', '[data-testid="images"]'],
      ['overview', '/', '[data-testid="dial"]'],
      ['topology', '/topology', '[data-testid="topology-canvas"]'],
      ['nodes', '/nodes?sort=score', '[data-testid="node-table"]'],
      ['node', `/nodes/${weak.id}`, '[data-testid="node-head"]'],
      ['alerts', '/alerts', '[data-testid="panel-alerts"]'],
    ]);
  } finally {
    await demo.stop();
  }
}

/** A bad release, when it was caught. */
async function caught(chromium) {
  const demo = await Demo.start(['--story', 'bad-canary', '--nodes', '12']);
  try {
    const over = async () => (await demo.get('/api/v1/rollouts')).items.find((one) => one.progress?.phase === 'rolled_back');
    const { id } = await until(over, 'a roll-out that went back', 180_000);
    await take(chromium, demo, [['rollout', `/rollouts/${id}?wave=0`, '[data-testid="wave-0"][data-state="rolled_back"]']]);
  } finally {
    await demo.stop();
  }
}

const chromium = await browser();
try {
  await living(chromium);
  await caught(chromium);
} finally {
  await chromium.close();
}
