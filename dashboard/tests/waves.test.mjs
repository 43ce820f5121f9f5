// A bad release, seen on its page: the canary is caught, goes back, and nobody else starts it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, DESKTOP, open, PHONE, serious } from './lib/browser.mjs';
import { Demo, until } from './lib/demo.mjs';

/** The story's end needs a transfer, a canary and a way back. */
const STORY_MS = 180_000;

let demo, chromium, rollout;

before(async () => {
  [demo, chromium] = await Promise.all([Demo.start(['--story', 'bad-canary', '--nodes', '12']), browser()]);
  const planned = async () => (await demo.get('/api/v1/rollouts')).items.find((one) => one.plan);
  rollout = await until(planned, 'a roll-out in waves', STORY_MS);
});
after(async () => {
  await chromium?.close();
  await demo?.stop();
});

test('the canary is caught and goes back before anybody else starts the image', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  const asked = [];
  page.on('request', (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
  await page.goto(`${demo.url}/rollouts/${rollout.id}`);
  await page.locator('[data-testid="wave-head"]').waitFor();
  // It stays on the page: what happens comes by the stream.
  await page.locator('[data-testid="wave-head"][data-phase="rolled_back"]').waitFor({ timeout: STORY_MS });
  assert.ok(!asked.includes(`GET /api/v1/rollouts/${rollout.id}`), `the page asked for what the stream tells: ${asked}`);
  await page.locator('[data-testid="wave-0"][data-state="rolled_back"]').waitFor();
  await page.locator('[data-testid="wave-0"]').click();
  await page.locator('[data-gate="faults"][data-verdict="broken"]').waitFor();
  const { progress } = await demo.get(`/api/v1/rollouts/${rollout.id}`);
  const [canary, ...later] = progress.waves;
  assert.ok(canary.nodes.length > 0 && later.length > 0, JSON.stringify(progress.waves));
  for (const node of canary.nodes) {
    const row = page.locator(`[data-testid="wave-nodes"] [data-node="${node.id}"]`);
    await row.waitFor();
    assert.ok(['fault', 'reverted'].includes(await row.getAttribute('data-outcome')), await row.textContent());
  }
  for (const wave of later) {
    await page.locator(`[data-testid="wave-${wave.wave}"]`).click();
    const rows = await page.locator('[data-testid="wave-nodes"] [data-outcome]').evaluateAll((found) => found.map((row) => row.dataset.outcome));
    assert.equal(rows.length, wave.nodes.length);
    assert.ok(rows.every((outcome) => !['starting', 'trial', 'updated', 'kept'].includes(outcome)), `${wave.name}: ${rows}`);
  }
  await page.locator('[data-testid="decisions"]', { hasText: 'roll back' }).waitFor();
  assert.deepEqual(faults, []);
});

test('its report can be had, and its page is found from the firmware', async (t) => {
  const { page, faults, close } = await open(chromium);
  t.after(close);
  await page.goto(`${demo.url}/firmware?rollout=${rollout.id}`);
  await page.locator('[data-testid="rollout-open"]').click();
  await page.waitForURL(`${demo.url}/rollouts/${rollout.id}`);
  for (const kind of ['md', 'json']) {
    const saved = page.waitForEvent('download');
    await page.locator(`[data-testid="report-${kind}"]`).click();
    assert.equal((await saved).suggestedFilename(), `rollout-${rollout.id}.${kind}`);
  }
  assert.deepEqual(faults, []);
});

test('the page and the plan are whole and accessible at every size and in both themes', async (t) => {
  for (const viewport of [DESKTOP, PHONE]) {
    for (const colorScheme of ['light', 'dark']) {
      const { page, faults, close } = await open(chromium, { viewport, colorScheme });
      t.after(close);
      const whole = async (what) => {
        assert.deepEqual(await serious(page), [], `${what} ${viewport.width} ${colorScheme}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${what} is ${wide} px too wide at ${viewport.width}`);
      };
      await page.goto(`${demo.url}/rollouts/${rollout.id}`);
      await page.locator('[data-testid="waves"]').waitFor();
      await whole('the roll-out');
      await page.goto(`${demo.url}/firmware`);
      await page.locator('[data-testid="images"]').waitFor();
      await page.locator('[data-testid="deploy-open"]').click();
      await page.locator('[data-testid="deploy-waves"]').check();
      await page.locator('[data-testid="gates-own"]').check();
      await whole('the plan');
      assert.deepEqual(faults, []);
    }
  }
});

test('a plan that makes no sense is refused at its field', async (t) => {
  const { page, close } = await open(chromium);
  t.after(close);
  await page.goto(`${demo.url}/firmware`);
  await page.locator('[data-testid="images"]').waitFor();
  await page.locator('[data-testid="deploy-open"]').click();
  await page.locator('[data-testid="deploy-waves"]').check();
  const size = page.locator('[data-testid="wave-size"]').first();
  await size.fill('lots');
  await page.locator('[data-testid="deploy-forecast"]').click();
  await page.locator('[data-testid="wave-size"][aria-invalid="true"]').waitFor();
  assert.ok(await page.locator('[data-testid="deploy-next"]').isDisabled());
});
