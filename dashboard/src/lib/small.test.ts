import { describe, expect, it } from 'vitest';
import { rollout } from '../test/things';
import { columns, graphable, readSpan, summary, unitOf } from './graph';
import { Keys } from './keys';
import { inShort, progress } from './rollouts';
import { route } from './router.svelte';
import { pieces } from './words';

describe('addresses', () => {
  it('show a page each, and what is none is none', () => {
    for (const [path, page, id] of [
      ['/', 'overview', null],
      ['/topology', 'topology', null],
      ['/nodes/', 'nodes', null],
      ['/nodes/4179981905', 'node', 4_179_981_905],
      ['/nodes/4294967296', 'unknown', null],
      ['/nodes/abc', 'unknown', null],
      ['/nodes/1/2', 'unknown', null],
      ['/rollouts/7', 'rollout', 7],
      ['/rollouts', 'unknown', null],
      ['/setup', 'setup', null],
      ['/api/v1/docs', 'unknown', null],
      ['//evil.example', 'unknown', null],
    ] as const) {
      expect(route(path), path).toEqual({ page, id });
    }
  });
});

describe('keys', () => {
  it('go somewhere in two steps, or do something in one', () => {
    const keys = new Keys();
    expect(keys.press('g', 100)).toBeNull();
    expect(keys.press('n', 200)).toEqual({ go: '/nodes' });
    expect(keys.press('n', 300), 'alone it does nothing').toBeNull();
    keys.press('g', 1_000);
    expect(keys.press('n', 3_000), 'too late').toBeNull();
    expect(keys.press('?', 3_100)).toEqual({ do: 'help' });
    expect(keys.press('/', 3_200)).toEqual({ do: 'find' });
  });
});

describe('texts that name nodes', () => {
  it('are cut at the nodes and nowhere else', () => {
    expect(pieces('hangs below node 12 now, not 13')).toEqual([{ text: 'hangs below node ' }, { node: 12 }, { text: ' now, not 13' }]);
    expect(pieces('node 4294967296 is none')).toEqual([{ text: 'node 4294967296 is none' }]);
    expect(pieces('<b>node 5</b>')).toEqual([{ text: '<b>node ' }, { node: 5 }, { text: '</b>' }]);
    expect(pieces('the link of 7 and 8 of 9')).toEqual([{ text: 'the link of ' }, { node: 7 }, { text: ' and ' }, { node: 8 }, { text: ' of 9' }]);
    expect(pieces('')).toEqual([]);
  });
});

describe('graphs', () => {
  const point = (seconds: number, value: number) => ({ at: new Date(seconds * 1_000).toISOString(), value, min: value - 1, max: value + 1, count: 1 });

  it('have a gap where nothing was measured', () => {
    const made = columns([point(0, 1), point(60, 2), point(600, 3)], 60);
    expect(made.at).toEqual([0, 60, 330, 600]);
    expect(made.value).toEqual([1, 2, null, 3]);
    expect(made.max).toEqual([2, 3, null, 4]);
  });

  it('leave out what goes back in time, and what has no time', () => {
    const made = columns([point(60, 1), point(60, 2), point(30, 3), { ...point(90, 4), at: 'soon' }, point(120, 5)], 60);
    expect(made.value).toEqual([1, 5]);
  });

  it('are summed up', () => {
    expect(summary([point(0, 5), point(60, 2)])).toEqual({ last: 2, min: 1, max: 6 });
    expect(summary([])).toBeNull();
  });

  it('show what the address says', () => {
    expect(readSpan(new URLSearchParams('range=1w'))).toMatchObject({ range: { name: '1w' }, zoom: null });
    expect(readSpan(new URLSearchParams('range=century')).range.name).toBe('1h');
    expect(readSpan(new URLSearchParams('from=1000&to=2000')).zoom).toEqual({ from: 1_000, to: 2_000 });
    for (const query of ['from=2000&to=1000', 'from=1000&to=1001', 'from=a&to=b', 'from=1000', 'from=-5&to=900']) {
      expect(readSpan(new URLSearchParams(query)).zoom, query).toBeNull();
    }
  });

  it('have the unit that the name ends with', () => {
    for (const [name, unit] of [['free_heap_bytes', 'B'], ['rssi_dbm', 'dBm'], ['links', ''], ['chip_temperature_c', '°C'], ['messages_rx', '']] as const) {
      expect(unitOf(name), name).toBe(unit);
    }
  });

  it('are of amounts, not of names', () => {
    expect(graphable(['parent', 'queue_bytes', 'rssi_dbm', 'free_heap_bytes'])).toEqual(['free_heap_bytes', 'rssi_dbm', 'queue_bytes']);
  });
});

it('knows how far a roll-out is', () => {
  const at = (state: 'updated' | 'receiving' | 'failed' | 'waiting', done = 0, parts = 0) => ({ id: 1, state, done, parts });
  const over = (id: number) => rollout(id, { state: 'finished' });
  const ids = (...all: Parameters<typeof inShort>[0][]) => all.map((each) => inShort(each).map((one) => one.id));
  expect(ids([over(1), over(2), over(3), over(4)], [rollout(1), over(2), over(3), over(4)], [1, 2, 3, 4].map((id) => rollout(id)))).toEqual([
    [4, 3, 2],
    [1, 4, 3],
    [4, 3, 2, 1],
  ]);
  expect(progress(rollout(1)).share).toBe(0);
  const so = progress(rollout(1, { nodes: [at('updated', 10, 10), at('receiving', 5, 10), at('failed'), at('waiting')] }));
  expect(so).toMatchObject({ all: 4, updated: 1, failed: 1, declined: 0 });
  expect(so.share).toBeCloseTo((1 + 0.45 + 1) / 4);
});
