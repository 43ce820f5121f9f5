// Every page before the demonstration: at both sizes, without a mouse, for axe, and what people do on it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, DESKTOP, open, PHONE, serious } from './lib/browser.mjs';
import { Demo, until } from './lib/demo.mjs';

let demo, chromium, node;

before(async () => {
  [demo, chromium] = await Promise.all([Demo.start(['--nodes', '20']), browser()]);
  // The first reports of the nodes are what pages show.
  await until(async () => (await demo.nodes()).every((node) => node.metrics.length > 5), 'every node has told how it is');
  node = (await demo.nodes()).find((one) => one.hops > 1);
});
after(async () => {
  await chromium?.close();
  await demo?.stop();
});

/** Each page with what shows that it is there. */
const pages = () => [
  ['/', '[data-testid="dial"]'],
  ['/topology', '[data-testid="topology-canvas"]'],
  ['/topology?as=table', '[data-testid="topology-table"]'],
  ['/nodes', `[data-testid="node-table"]`],
  [`/nodes/${node.id}`, '[data-testid="node-head"]'],
  ['/firmware', '[data-testid="inventory"]'],
  ['/alerts', '[data-testid="panel-alerts"]'],
  ['/events', '[data-testid="events"]'],
  ['/audit', '[data-testid="panel-audit"]'],
  ['/account', 'h1'],
  ['/login', 'h1'],
  ['/setup', 'form, h1'],
  ['/nodes/4294967295', 'h1'],
];

async function shows(page, path, mark) {
  await page.goto(demo.url + path);
  await page.locator(mark).first().waitFor();
}

for (const [size, viewport] of [
  ['desktop', DESKTOP],
  ['phone', PHONE],
]) {
  test(`every page is whole, accessible and within its policy: ${size}`, async (t) => {
    for (const colorScheme of ['light', 'dark']) {
      const { page, faults, close } = await open(chromium, { viewport, colorScheme });
      t.after(close);
      for (const [path, mark] of pages()) {
        await shows(page, path, mark);
        assert.deepEqual(await serious(page), [], `${path} ${size} ${colorScheme}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${path} is ${wide} px wider than the ${size}`);
      }
      assert.deepEqual(faults, []);
    }
  });
}

test('a page that nobody has is said to be none', async () => {
  const answer = await fetch(`${demo.url}/what`, { headers: { accept: 'text/html' } });
  assert.equal(answer.status, 404);
  assert.equal(answer.headers.get('content-type'), 'application/problem+json');
});

test('a page is there within a second, and reloads keep what its address says', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  const times = [];
  for (let turn = 0; turn < 5; turn += 1) {
    const started = Date.now();
    await page.goto(`${demo.url}/`, { waitUntil: 'commit' });
    await page.locator('[data-testid="dial"]').waitFor();
    times.push(Date.now() - started);
  }
  times.sort((a, b) => a - b);
  console.log(`measured: interactive after ${times[2]} ms (median of 5, loopback; at most ${times[4]} ms)`);
  // The budget is 1 s; four times as much is for a machine that does other things.
  assert.ok(times[2] < 4_000, `${times}`);
  await page.goto(`${demo.url}/nodes?q=kitchen`);
  await page.reload();
  await page.locator('[data-testid="node-count"]', { hasText: '1 of' }).waitFor();
  assert.equal(await page.locator('[data-testid="search"]').inputValue(), 'kitchen');
  assert.deepEqual(faults, []);
});

test('without a mouse: to every page, to a node and back, and the help', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  await shows(page, '/', '[data-testid="dial"]');
  for (const [key, path] of [
    ['t', '/topology'],
    ['n', '/nodes'],
    ['f', '/firmware'],
    ['a', '/alerts'],
    ['e', '/events'],
    ['o', '/'],
  ]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.waitForURL(demo.url + path);
  }
  await page.keyboard.press('?');
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'detached' });
  await page.keyboard.press('/');
  await page.locator('[data-testid="find"] input, dialog[open] input').first().waitFor();
  await page.keyboard.type('kitchen');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/nodes\/\d+$/);
  await page.locator('[data-testid="node-head"]', { hasText: 'kitchen' }).waitFor();
  // Tabs lead through what can be done, and what has the focus can be seen.
  const seen = new Set();
  for (let turn = 0; turn < 25; turn += 1) {
    await page.keyboard.press('Tab');
    seen.add(await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 120)));
  }
  assert.ok(seen.size > 15, `${seen.size} things have had the focus`);
  // The tree is walked by arrows and opened by Enter.
  await shows(page, '/topology', '[data-testid="topology-canvas"]');
  await page.locator('[data-testid="topology-canvas"]').focus();
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight']) await page.keyboard.press(key);
  await page.locator('[data-testid="topology-spoken"]', { hasText: /hop/ }).waitFor({ state: 'attached' });
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/nodes\/\d+/);
  assert.deepEqual(faults, []);
});

test('nodes are filtered, sorted, chosen and saved', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  await shows(page, '/nodes', '[data-testid="node-table"]');
  await page.locator('[data-testid="search"]').fill('garden');
  await page.waitForURL(/q=garden/);
  await page.locator('[data-testid="node-count"]', { hasText: '1 of 20' }).waitFor();
  const saved = page.waitForEvent('download');
  await page.locator('[data-testid="csv"]').click();
  const name = (await saved).suggestedFilename();
  assert.match(name, /^nodes-.*\.csv$/);
  await page.locator('[data-testid="filter-clear"]').click();
  await page.locator('[data-testid="sort-name"] button, [data-testid="sort-name"]').first().click();
  await page.waitForURL(/sort=/);
  await page.locator('[data-testid="node-table"] input[type="checkbox"]').nth(1).check();
  await page.locator('[data-testid="bulk"]').waitFor();
  assert.deepEqual(faults, []);
});

test('a tree is laid out, found in, folded, saved and read as a table', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  await shows(page, '/topology', '[data-testid="topology-canvas"]');
  await page.locator('[data-testid="topology-layout"]').selectOption('radial');
  await page.locator('[data-testid="topology-colour"]').selectOption({ index: 1 });
  await page.locator('[data-testid="topology-find"]').fill('kitchen');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="peek-name"]', { hasText: 'kitchen' }).waitFor();
  for (const kind of ['svg', 'png', 'dot', 'json']) {
    const saved = page.waitForEvent('download');
    await page.locator('[data-testid="topology-export"]').click();
    await page.locator(`[data-testid="topology-export-${kind}"]`).click();
    assert.equal((await saved).suggestedFilename(), `topology.${kind}`);
  }
  await page.locator('[data-testid="topology-fold"]').click();
  await page.locator('[data-testid="topology-as-table"]').click();
  await page.locator('[data-testid="topology-table"]').waitFor();
  assert.deepEqual(faults, []);
});

test('an update is forecast, started, watched and done', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  // The demonstration brings the images with its first update.
  await until(async () => (await demo.get('/api/v1/rollouts')).items.length > 0, 'the first update', 120_000);
  await shows(page, '/firmware', '[data-testid="images"]');
  await page.locator('[data-testid="rollout"]').waitFor();
  await until(async () => (await demo.get('/api/v1/rollouts')).items.every((one) => one.state === 'finished'), 'its end', 120_000);
  const rollout = (await demo.get('/api/v1/rollouts')).items[0];
  assert.ok(rollout.nodes.filter((one) => one.state === 'updated').length > 15, JSON.stringify(rollout.nodes.map((one) => one.state)));
  await page.locator('[data-testid="rollout-progress"]', { hasText: 'updated' }).waitFor();
  await page.locator('[data-testid="deploy-open"]').click();
  await page.locator('[data-testid="deploy-next"]').waitFor();
  assert.deepEqual(await serious(page), []);
  await page.keyboard.press('Escape');
  assert.deepEqual(faults, []);
});
