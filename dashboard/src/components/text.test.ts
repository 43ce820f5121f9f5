// Whatever a node calls itself, it is text on the page: in every place that shows words of the mesh.

import { cleanup, render } from '@testing-library/svelte';
import { afterEach, expect, it } from 'vitest';
import { alert, event, node, rollout, score, status, told } from '../test/things';
import { live } from '../lib/live.svelte';
import { toasts } from '../lib/toasts.svelte';
import AlertList from './AlertList.svelte';
import Deductions from './Deductions.svelte';
import EventList from './EventList.svelte';
import NodeFirmware from './NodeFirmware.svelte';
import NodeLinks from './NodeLinks.svelte';
import NodeTable from './NodeTable.svelte';
import NodeValues from './NodeValues.svelte';
import Rollouts from './Rollouts.svelte';
import Toasts from './Toasts.svelte';
import Words from './Words.svelte';

const EVIL = '<img src=x onerror=alert(1)><script>alert(2)</script>&amp;{{7*7}}';

const evil = node(5, {
  name: EVIL,
  tags: [EVIL],
  family: EVIL,
  metrics: [{ ...told('free_heap_bytes', 1, EVIL), doubt: EVIL, source: EVIL }],
  facts: [{ topic: EVIL, text: EVIL, observed_at: '2026-03-01T12:00:00Z', source: EVIL }, { topic: 'version', text: EVIL, observed_at: '2026-03-01T12:00:00Z', source: 'x' }],
  score: score(50, [{ rule: EVIL, points: 50, node: 5, evidence: EVIL, advice: `${EVIL} node 5` }]),
});

afterEach(() => {
  cleanup();
  live.stop(true);
});

function know(): void {
  live.nodes = new Map([[5, evil], [6, node(6, { parent: 5, name: EVIL })]]);
  live.mesh = status();
  live.rollouts = new Map([[1, rollout(1, { firmware: { ...rollout(1).firmware, name: EVIL }, nodes: [{ id: 5, state: 'failed', done: 0, parts: 0, reason: EVIL }] })]]);
}

const PLACES: [string, () => { container: HTMLElement }][] = [
  ['Words', () => render(Words, { text: `${EVIL} node 5` })],
  ['EventList', () => render(EventList, { props: { events: [event(1, { text: EVIL, name: EVIL, kind: EVIL })] } })],
  ['AlertList', () => render(AlertList, { alerts: [alert('a', { rule: EVIL, subject: EVIL, evidence: EVIL, severity: EVIL, known_by: EVIL })] })],
  ['Deductions', () => render(Deductions, { score: evil.score })],
  ['NodeValues', () => render(NodeValues, { node: evil })],
  ['NodeLinks', () => render(NodeLinks, { node: evil })],
  ['NodeFirmware', () => render(NodeFirmware, { node: evil })],
  ['Rollouts', () => render(Rollouts)],
  ['NodeTable', () => render(NodeTable, { nodes: [evil], sort: 'name', descending: false, order: () => {}, chosen: new Set<number>(), choose: () => {} })],
  [
    'Toasts',
    () => {
      toasts.trouble(EVIL);
      return render(Toasts);
    },
  ],
];

it.each(PLACES)('%s shows markup as text', (_, show) => {
  know();
  const { container } = show();
  expect(container.textContent).toContain(EVIL);
  expect(container.querySelector('img, script')).toBeNull();
  expect(container.innerHTML).toContain('&lt;img src=x onerror=alert(1)&gt;');
});

it('makes no style attribute in markup, which the policy would block', () => {
  know();
  for (const [name, show] of PLACES) {
    const { container } = show();
    const styled = [...container.querySelectorAll('[style]')].filter((element) => !(element as HTMLElement).style.height);
    expect(styled, name).toEqual([]);
    cleanup();
  }
});
