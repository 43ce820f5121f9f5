// Pictures of six pages, out of the demonstration, into docs/images. MESHWARD names the program.

import { mkdirSync, statSync } from 'node:fs';
import { browser, open } from '../tests/lib/browser.mjs';
import { Demo, until } from '../tests/lib/demo.mjs';

const FOLDER = new URL('../../docs/images/', import.meta.url).pathname;
/** Longest picture, in bytes: they are in the repository, and in a page that people load. */
const BYTES_MAX = 200 * 1024;

mkdirSync(FOLDER, { recursive: true });
const demo = await Demo.start();
const chromium = await browser();
try {
  // Once the first update is under way, there is something to see on every page.
  await until(async () => (await demo.get('/api/v1/rollouts')).items.length > 0, 'the first update', 180_000);
  const nodes = await demo.nodes();
  const weak = nodes.toSorted((a, b) => (a.score.points ?? 100) - (b.score.points ?? 100))[0];
  const { page, faults } = await open(chromium, { viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  for (const [name, path, mark] of [
    ['firmware', '/firmware', '[data-testid="images"]'],
    ['overview', '/', '[data-testid="dial"]'],
    ['topology', '/topology', '[data-testid="topology-canvas"]'],
    ['nodes', '/nodes?sort=score', '[data-testid="node-table"]'],
    ['node', `/nodes/${weak.id}`, '[data-testid="node-head"]'],
    ['alerts', '/alerts', '[data-testid="panel-alerts"]'],
  ]) {
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
  if (faults.length > 0) throw new Error(faults.join('\n'));
} finally {
  await chromium.close();
  await demo.stop();
}
