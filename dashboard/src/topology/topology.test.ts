import { describe, expect, it } from 'vitest';
import type { Node } from '../lib/types';
import { fit, held, revealed, seen, toScreen, toWorld, zoomAt } from './camera';
import { dotString, toDot, toJson } from './export/text';
import { toSvg, xmlText } from './export/svg';
import { FrameCounter } from './frames';
import { Grid } from './grid';
import { GAP, type Layout, layOut, type Shape } from './layout';
import { linkLook } from './links';
import { buildTree, delta, fold, type Link, linksOf, pathToGateway, sameTree, subtree, unfoldTo } from './model';
import { changes, neighbour, scaleOfThen } from './past';
import { pictureOf, sceneOf } from './picture';
import { contrast, inkOn, type Mode, MODES, outlineOf, scaleOf, type Seen } from './scales';
import { find } from './search';
import { step } from './walk';

/** A tree of `count` nodes below gateway 1, each below one that was there, at most `fan` children; by a small generator. */
function grown(count: number, fan: number, seed = 7): Link[] {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const open = [1];
  const used = new Map<number, number>();
  const links: Link[] = [];
  for (let i = 0; i < count; i += 1) {
    const at = Math.floor(random() * open.length);
    const from = open[at] as number;
    const to = 1_000 + i;
    links.push({ from, to });
    used.set(from, (used.get(from) ?? 0) + 1);
    if (used.get(from) === fan) open.splice(at, 1);
    open.push(to);
  }
  return links;
}

function node(id: number, more: Partial<Node> = {}): Node {
  const score = { points: 100, level: 'ok', trend: 'steady', deductions: [] };
  return {
    id, name: null, state: 'online', since: '2026-01-01T00:00:00Z', family: 'stock', joins: 1, parent: 1, hops: 1,
    root: false, time_authority: false, tags: [], score, metrics: [], facts: [], ...more,
  } as Node;
}

const told = (name: string, value: number) => ({ name, value, unit: '', observed_at: '2026-01-01T00:00:00Z', source: 'telemetry' });

/** The nearest two middles of a layout. */
function nearest(layout: Layout): number {
  const points = [...layout.points.values()];
  let least = Infinity;
  points.forEach((a, i) => {
    for (const b of points.slice(i + 1)) least = Math.min(least, Math.hypot(a.x - b.x, a.y - b.y));
  });
  return least;
}

describe('the tree', () => {
  it('is built of links in any order, children in order of their ids', () => {
    const tree = buildTree(1, [{ from: 5, to: 7 }, { from: 1, to: 5 }, { from: 1, to: 3 }, { from: 5, to: 6 }], [9]);
    expect(tree.places.get(1)?.children).toEqual([3, 5]);
    expect(tree.places.get(5)).toMatchObject({ parent: 1, depth: 1, below: 2, children: [6, 7] });
    expect(tree.places.get(1)?.below).toBe(4);
    expect(tree.apart).toEqual([9]);
    expect(tree.height).toBe(2);
  });

  it('takes what no tree is: circles, doubles, loops, links to the gateway, nothing', () => {
    const odd = [{ from: 1, to: 2 }, { from: 8, to: 9 }, { from: 9, to: 8 }, { from: 3, to: 2 }, { from: 4, to: 4 }, { from: 2, to: 1 }];
    const tree = buildTree(1, odd);
    expect([...tree.places.keys()]).toEqual([1, 2]);
    expect(tree.apart).toEqual([3, 4, 8, 9]);
    expect(buildTree(1, []).places.size).toBe(1);
  });

  it('is read off nodes by their parents', () => {
    expect(linksOf([node(2), node(3, { parent: 2 }), node(4, { parent: null })])).toEqual([{ from: 1, to: 2 }, { from: 2, to: 3 }]);
  });

  it('knows the path to the gateway and what hangs below', () => {
    const tree = buildTree(1, [{ from: 1, to: 2 }, { from: 2, to: 3 }, { from: 3, to: 4 }, { from: 1, to: 5 }], [6]);
    expect(pathToGateway(tree, 4)).toEqual([4, 3, 2, 1]);
    expect(pathToGateway(tree, 6)).toEqual([]);
    expect(subtree(tree, 2)).toEqual([2, 3, 4]);
  });

  it('folds and unfolds subtrees', () => {
    const tree = buildTree(1, [{ from: 1, to: 2 }, { from: 2, to: 3 }, { from: 3, to: 4 }, { from: 1, to: 5 }]);
    const folded = fold(tree, new Set([2, 3]));
    expect([...folded.places.keys()]).toEqual([1, 2, 5]);
    expect(folded.places.get(2)?.below).toBe(2);
    expect(folded.height).toBe(1);
    expect([...unfoldTo(tree, new Set([2, 3, 5]), 4)]).toEqual([5]);
    expect(fold(tree, new Set())).toBe(tree);
  });

  it('tells what changed', () => {
    const before = buildTree(1, [{ from: 1, to: 2 }, { from: 2, to: 3 }, { from: 2, to: 4 }]);
    const after = buildTree(1, [{ from: 1, to: 2 }, { from: 1, to: 3 }, { from: 2, to: 5 }]);
    expect(delta(before, after)).toEqual({ joined: [5], left: [4], moved: [{ id: 3, from: 2, to: 1 }] });
    expect(sameTree(before, after)).toBe(false);
    expect(sameTree(before, buildTree(1, [{ from: 2, to: 4 }, { from: 2, to: 3 }, { from: 1, to: 2 }]))).toBe(true);
  });
});

describe('layouts', () => {
  const shapes: Shape[] = ['layered', 'radial'];
  const trees: [string, Link[]][] = [
    ['500 nodes', grown(500, 4)],
    ['a star of 500', Array.from({ length: 500 }, (_, i) => ({ from: 1, to: 10 + i }))],
    ['a chain of 500', Array.from({ length: 500 }, (_, i) => ({ from: i + 1, to: i + 2 }))],
    ['two nodes', [{ from: 1, to: 2 }, { from: 1, to: 3 }]],
    ['nobody', []],
  ];
  for (const shape of shapes) {
    for (const [name, links] of trees) {
      it(`${shape}: no node on another in ${name}`, () => {
        const tree = buildTree(1, links, [90_001, 90_002, 90_003]);
        const layout = layOut(tree, shape);
        expect(layout.points.size).toBe(tree.places.size + 3);
        expect(nearest(layout)).toBeGreaterThanOrEqual(GAP - 1e-6);
        for (const point of layout.points.values()) expect(Number.isFinite(point.x + point.y)).toBe(true);
      });
    }

    it(`${shape}: the order of links does not matter`, () => {
      const links = grown(120, 4);
      const [a, b] = [layOut(buildTree(1, links), shape), layOut(buildTree(1, [...links].reverse()), shape)];
      expect([...a.points].sort(([x], [y]) => x - y)).toEqual([...b.points].sort(([x], [y]) => x - y));
    });
  }
});

describe('the camera and the grid', () => {
  it('zooms around a point, within limits', () => {
    const at = { x: 70, y: 30 };
    const camera = zoomAt({ x: 10, y: 20, zoom: 1 }, at, 2);
    expect(toWorld(camera, at)).toEqual({ x: 60, y: 10 });
    expect(zoomAt(camera, at, 1e9).zoom).toBe(4);
    expect(zoomAt(camera, at, 1e-9).zoom).toBe(0.04);
  });

  it('fits everything, shows a node, and never loses the picture', () => {
    const box = { left: -500, top: -100, right: 500, bottom: 100 };
    const size = { width: 400, height: 300 };
    const camera = fit(box, size);
    const view = seen(camera, size);
    expect(view.left).toBeLessThan(box.left);
    expect(view.right).toBeGreaterThan(box.right);
    const shown = toScreen(revealed({ x: 0, y: 0, zoom: 1 }, { x: 900, y: 10 }, size), { x: 900, y: 10 });
    expect(shown.x).toBe(320);
    const kept = held({ x: 99_999, y: -99_999, zoom: 1 }, box, size);
    expect(toScreen(kept, { x: box.left, y: 0 }).x).toBeLessThanOrEqual(size.width);
    expect(toScreen(kept, { x: 0, y: box.bottom }).y).toBeGreaterThanOrEqual(0);
  });

  it('finds the node under a pointer as looking at all of them would', () => {
    const { points } = layOut(buildTree(1, grown(300, 4)), 'radial');
    const grid = new Grid(points);
    for (const at of [{ x: 0, y: 0 }, { x: 55, y: -80 }, { x: -200, y: 130 }, { x: 1e6, y: 0 }]) {
      const near = [...points].map(([id, p]) => ({ id, far: Math.hypot(p.x - at.x, p.y - at.y) })).filter((each) => each.far <= 60);
      near.sort((a, b) => a.far - b.far || a.id - b.id);
      expect(grid.nearest(at, 60)).toBe(near[0]?.id ?? null);
    }
    expect(grid.within({ left: -1e9, top: -1e9, right: 1e9, bottom: 1e9 })).toHaveLength(301);
  });
});

describe('keys and words', () => {
  const tree = buildTree(1, [{ from: 1, to: 2 }, { from: 1, to: 3 }, { from: 2, to: 4 }, { from: 3, to: 5 }], [9, 10]);
  const rows: [number | null, Parameters<typeof step>[2], Shape, number][] = [
    [null, 'ArrowRight', 'layered', 1],
    [1, 'ArrowRight', 'layered', 2],
    [2, 'ArrowDown', 'layered', 3],
    [4, 'ArrowDown', 'layered', 5],
    [5, 'ArrowDown', 'layered', 5],
    [5, 'ArrowLeft', 'layered', 3],
    [1, 'ArrowLeft', 'layered', 1],
    [4, 'ArrowUp', 'radial', 2],
    [1, 'ArrowDown', 'radial', 2],
    [2, 'ArrowRight', 'radial', 3],
    [9, 'ArrowDown', 'layered', 10],
    [10, 'ArrowDown', 'layered', 10],
    [10, 'ArrowLeft', 'layered', 1],
  ];
  it.each(rows)('from %s by %s (%s) to %s', (from, key, shape, to) => {
    expect(step(tree, from, key, shape)).toBe(to);
  });

  it('finds by id, name, tag and MD5, the best first', () => {
    const nodes = [
      node(412, { name: 'Attic' }), node(41, { name: 'Roof', tags: ['attic'] }), node(7, { name: 'attic window' }),
      node(8, { facts: [{ topic: 'firmware_md5', text: 'ABCDEF', observed_at: '', source: '' }] }),
    ];
    expect(find(nodes, 'attic')).toEqual([41, 412, 7]);
    expect(find(nodes, '41')).toEqual([41, 412]);
    expect(find(nodes, 'attic win')).toEqual([7]);
    expect(find(nodes, 'abcd')).toEqual([8]);
    expect(find(nodes, '  ')).toEqual([]);
  });
});

describe('colours', () => {
  const seenOf = (each: Node, depth: number | null = 1, version: string | null = null): Seen => ({ node: each, depth, version });

  const rows: [Mode, Seen, string, string][] = [
    ['state', seenOf(node(2, { state: 'offline' })), 'offline', '×'],
    ['rssi', seenOf(node(2, { metrics: [told('rssi_dbm', -60)] })), '−60 dBm and more', '60'],
    ['rssi', seenOf(node(2, { metrics: [told('rssi_dbm', -71)] })), '−78 to −71 dBm', '71'],
    ['rssi', seenOf(node(2)), 'not known', '?'],
    ['score', seenOf(node(2)), '90 to 100', '100'],
    ['depth', seenOf(node(2), 12), '12 hops', '12'],
    ['firmware', seenOf(node(2), 1, null), 'not known', '?'],
  ];
  it.each(rows)('row %#, by %s', (mode, seen, label, mark) => {
    expect(scaleOf(mode, [seen]).of(seen)).toMatchObject({ label, mark });
  });

  it('ranks versions by how many run them, and keeps order where equal', () => {
    const all = ['b', 'a', 'c', 'c'].map((version, i) => seenOf(node(i + 2), 1, version));
    const scale = scaleOf('firmware', all);
    expect(scale.legend(all).map((item) => [item.label, item.mark, item.count])).toEqual([['c', 'A', 2], ['a', 'B', 1], ['b', 'C', 1]]);
    const many = Array.from({ length: 12 }, (_, i) => seenOf(node(i + 2), 1, `v${i + 10}`));
    expect(scaleOf('firmware', many).legend(many).at(-1)).toMatchObject({ label: 'other versions', count: 5 });
  });

  it('writes on every colour so that it can be read, and draws every state in its own outline', () => {
    for (const { mode } of MODES) {
      const all: Seen[] = [];
      for (let i = 0; i < 12; i += 1) {
        const metrics = [told('rssi_dbm', -50 - 4 * i)];
        const state = (['online', 'learning', 'suspect', 'offline', 'sleeping', 'unreachable', 'forgotten'] as const)[i % 7]!;
        all.push(seenOf(node(i, { state, metrics, score: { points: 100 - 8 * i, level: 'ok', trend: 'steady', deductions: [] } as Node['score'] }), i, `v${i}`));
      }
      for (const item of scaleOf(mode, all).legend(all)) expect(contrast(inkOn(item.fill), item.fill)).toBeGreaterThanOrEqual(4.5);
    }
    const outlines = (['online', 'learning', 'suspect', 'offline', 'sleeping', 'unreachable'] as const).map(outlineOf);
    expect(new Set(outlines).size).toBe(outlines.length);
  });

  it('draws links by what their lower end hears', () => {
    const of = (...metrics: Node['metrics']) => linkLook(node(2, { metrics })).key;
    expect([of(told('rssi_dbm', -70)), of(told('rssi_dbm', -71)), of(told('rssi_dbm', -81)), of()]).toEqual(['good', 'fair', 'weak', 'unknown']);
    expect(of(told('rssi_dbm', -50), told('loss_percent', 12))).toBe('weak');
  });
});

describe('exports', () => {
  const evil = '</text><script>alert("1")</script> & \'x\' \\" ];\u0000\u2028\ud800';

  function scene() {
    const nodes = new Map([[2, node(2, { name: evil })], [3, node(3, { parent: 2 })]]);
    const tree = buildTree(1, linksOf(nodes.values()));
    const seen = (id: number): Seen => ({ node: nodes.get(id), depth: null, version: null });
    const scale = scaleOf('state', [...tree.places.keys()].map(seen));
    const source = {
      tree: fold(tree, new Set([2])), layout: layOut(fold(tree, new Set([2])), 'layered'), scale, folded: new Set([2]), seen, now: true,
      label: (id: number) => nodes.get(id)?.name ?? String(id), state: (each: Node | undefined) => each?.state ?? 'not known',
    };
    return sceneOf(pictureOf(source), evil, '2026-01-01T00:00:00Z', scale.legend([...nodes.keys()].map(seen)));
  }

  it('SVG: markup in names is text, and the picture is well formed', () => {
    const svg = toSvg(scene());
    const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml');
    expect(parsed.querySelector('parsererror')).toBeNull();
    expect(parsed.querySelector('script')).toBeNull();
    expect(parsed.querySelectorAll('line')).toHaveLength(1);
    const words = [...parsed.querySelectorAll('text')].map((each) => each.textContent);
    expect(words.some((each) => each?.includes('<script>alert("1")</script>') && each.endsWith('(+1)'))).toBe(true);
    expect(xmlText('a\u0000\ud800b😀')).toBe('ab😀');
  });

  it('DOT: nothing in a name ends its string', () => {
    expect(dotString('a"b\\"c\nd')).toBe('"a\\"b\\\\\\"c d"');
    const dot = toDot(scene());
    // Without strings nothing of the name is left.
    const bare = dot.replace(/"(?:[^"\\]|\\.)*"/g, '""');
    expect(bare).not.toMatch(/script|alert/);
    expect(dot).toContain('1 -> 2');
    expect(dot.split('\n')).toHaveLength(9);
  });

  it('JSON: what was put in comes out', () => {
    const read = JSON.parse(toJson(scene()));
    expect(read.nodes).toHaveLength(2);
    expect(read.nodes[1]).toMatchObject({ id: 2, name: evil, parent: 1, hops: 1, state: 'online', folded: 1, link: 'unknown' });
  });
});

describe('the past', () => {
  it('is coloured by what is different now', () => {
    const then = buildTree(1, [{ from: 1, to: 2 }, { from: 2, to: 3 }, { from: 2, to: 4 }, { from: 1, to: 5 }]);
    const now = buildTree(1, [{ from: 1, to: 2 }, { from: 1, to: 3 }, { from: 1, to: 5 }]);
    const scale = scaleOfThen(then, now, [5]);
    expect([2, 3, 4, 5].map((id) => scale.of(id).key)).toEqual(['same', 'moved', 'gone', 'unsure']);
    expect(scale.legend().map((item) => [item.key, item.count])).toEqual([['same', 2], ['moved', 1], ['gone', 1], ['unsure', 1]]);
  });

  it('goes from change to change', () => {
    const event = (id: number, kind: string, at: string) => ({ id, kind, at, name: 'join', text: '' });
    const times = changes([
      event(1, 'topology', '2026-01-01T00:00:00Z'), event(2, 'topology', '2026-01-01T00:00:00.5Z'),
      event(3, 'alert', '2026-01-01T00:00:05Z'), event(4, 'topology', '2026-01-01T00:01:00Z'), event(5, 'topology', 'never'),
    ]);
    const zero = Date.parse('2026-01-01T00:00:00Z');
    expect(times).toEqual([zero + 500, zero + 60_000]);
    expect(neighbour(times, zero + 500, 1)).toBe(zero + 60_000);
    expect(neighbour(times, zero + 60_000, -1)).toBe(zero + 500);
    expect(neighbour(times, zero + 60_000, 1)).toBeNull();
  });
});

it('frames are counted without pauses', () => {
  const counter = new FrameCounter();
  for (const at of [0, 20, 40, 5_000, 5_020]) counter.add(at, at + 4, 500, 300);
  expect(counter.take()).toEqual({ painted: 5, per_second: 50, paint_ms_mean: 4, paint_ms_max: 4, nodes: 500, visible: 300 });
  expect(counter.take().painted).toBe(0);
});
