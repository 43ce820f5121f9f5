import { describe, expect, it } from 'vitest';
import { node, score, told } from '../test/things';
import type { Node } from './types';
import { crossings, firmwareOf, readFilter, says, sorted, tally, wanted, way, windowOf, writeFilter, type SortKey } from './nodes';

const nodes: Node[] = [
  node(30, { name: 'pump', state: 'offline', score: score(20), hops: null, parent: null, tags: ['garden'], last_heard_at: '2026-03-01T11:00:00Z' }),
  node(4, { name: 'Attic', score: score(95), hops: 2, metrics: [told('rssi_dbm', -80, 'dBm'), told('free_heap_bytes', 90_000, 'B')] }),
  node(200, { state: 'suspect', score: score(60), hops: 10, metrics: [told('rssi_dbm', -60, 'dBm')], family: 'stock' }),
  node(7, { score: score(null), hops: 1, facts: [{ topic: 'version', text: '1.4.3', observed_at: '2026-03-01T12:00:00Z', source: 'package_202' }] }),
];

const found = (query: string) => {
  const filter = readFilter(new URLSearchParams(query));
  return sorted(nodes.filter((one) => wanted(one, filter)), filter.sort, filter.descending).map((one) => one.id);
};

describe('filters', () => {
  it('are what the address says', () => {
    const rows: [string, number[]][] = [
      ['', [4, 30, 7, 200]],
      ['state=offline', [30]],
      ['state=offline,suspect', [30, 200]],
      ['level=critical', [30]],
      ['level=unknown,warning', [7, 200]],
      ['fw=1.4.3', [7]],
      ['family=stock', [200]],
      ['tag=garden', [30]],
      ['weak=1', [4]],
      ['q=ATT', [4]],
      ['q=0', [30, 200]],
      ['q=garden', [30]],
      ['q=1.4', [7]],
      ['state=online&q=7', [7]],
      ['state=offline&level=ok', []],
      // What nobody knows is left out, not refused: an old link still shows something.
      ['state=molten&sort=colour&level=purple', [4, 30, 7, 200]],
    ];
    for (const [query, expected] of rows) expect(found(query), query).toEqual(expected);
  });

  it('survive being written and read again', () => {
    for (const query of ['', 'q=a+b&state=offline%2Csuspect&level=ok&fw=1.4.3&family=stock&tag=x%2Fy&weak=1&sort=-score', 'sort=hops']) {
      const filter = readFilter(new URLSearchParams(query));
      const parts = Object.entries(writeFilter(filter)).filter((part): part is [string, string] => part[1] !== null);
      expect(readFilter(new URLSearchParams(parts)), query).toEqual(filter);
    }
  });

  it('leave out of the address what says nothing', () => {
    const parts = writeFilter(readFilter(new URLSearchParams('')));
    expect(Object.values(parts).every((value) => value === null)).toBe(true);
  });
});

describe('sorting', () => {
  it('puts who has no value last in both directions, and equals by id', () => {
    const rows: [SortKey, boolean, number[]][] = [
      ['id', false, [4, 7, 30, 200]],
      ['id', true, [200, 30, 7, 4]],
      ['name', false, [4, 30, 7, 200]],
      ['name', true, [30, 4, 7, 200]],
      ['score', false, [30, 200, 4, 7]],
      ['score', true, [4, 200, 30, 7]],
      ['hops', false, [7, 4, 200, 30]],
      ['hops', true, [200, 4, 7, 30]],
      ['rssi', false, [4, 200, 7, 30]],
      ['state', false, [30, 200, 4, 7]],
      ['heard', false, [30, 4, 7, 200]],
    ];
    for (const [key, down, expected] of rows) {
      expect(sorted(nodes, key, down).map((one) => one.id), `${key} ${down}`).toEqual(expected);
    }
  });

  it('reads numbers in names as people do, and changes nothing', () => {
    const named = [node(1, { name: 'node 10' }), node(2, { name: 'node 9' })];
    expect(sorted(named, 'name', false).map((one) => one.id)).toEqual([2, 1]);
    expect(named.map((one) => one.id)).toEqual([1, 2]);
  });
});

describe('one node', () => {
  it('is found by everything that names it', () => {
    const one = node(4_179_981_905, { name: 'Ölpumpe', tags: ['keller'] });
    for (const text of ['4179', 'ölp', 'KELLER', ' keller ']) expect(says(one, text), text).toBe(true);
    expect(says(one, 'attic')).toBe(false);
  });

  it('runs what it tells, by the best name that there is', () => {
    const md5 = { topic: 'firmware_md5', text: 'd41d8cd98f00b204e9800998ecf8427e', observed_at: '', source: '' };
    const version = { topic: 'version', text: '2.0', observed_at: '', source: '' };
    const rows: [Partial<Node>, string | null][] = [
      [{}, null],
      [{ metrics: [told('firmware_id', 255)] }, '000000ff'],
      [{ metrics: [told('firmware_id', 255)], facts: [md5] }, 'd41d8cd9'],
      [{ metrics: [told('firmware_id', 255)], facts: [md5, version] }, '2.0'],
    ];
    for (const [more, expected] of rows) expect(firmwareOf(node(1, more))).toBe(expected);
  });

  it('has a way to the gateway, even where the tree is told with a loop', () => {
    const tree = new Map([node(2, { parent: 3 }), node(3, { parent: 1 }), node(8, { parent: 9 }), node(9, { parent: 8 })].map((one) => [one.id, one]));
    expect(way(tree, tree.get(2)!).map((one) => one.id)).toEqual([2, 3]);
    expect(way(tree, tree.get(8)!).map((one) => one.id)).toEqual([8, 9]);
  });
});

it('counts what there is, the most first', () => {
  expect(tally(nodes, (one) => [one.family])).toEqual([['meshward', 3], ['stock', 1]]);
});

it('says over how many links questions and answers go', () => {
  expect(crossings(nodes)).toBe(26);
  expect(crossings([])).toBe(0);
});

it('draws only the rows that can be seen', () => {
  for (const [scroll, height, all, from, to] of [
    [0, 340, 500, 0, 18],
    [3_400, 340, 500, 92, 118],
    [17_000, 340, 500, 492, 500],
    [0, 340, 3, 0, 3],
    [99_999, 340, 3, 2, 3],
    [0, 340, 0, 0, 0],
  ] as const) {
    expect(windowOf(scroll, height, 34, all), `${scroll} of ${all}`).toEqual({ from, to });
  }
});
