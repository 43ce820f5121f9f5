// What colour, shape and mark a node has, and what the legend says of it.
//
// Colours are safe for the colour-blind (Okabe and Ito; blue to orange for good to bad; viridis for depth), and never
// alone: a node's outline tells its state, a mark in it its class. Pure; the painter and the legend ask.

import type { Node, NodeState } from '../lib/types';

export type Mode = 'state' | 'rssi' | 'score' | 'firmware' | 'depth';
export const MODES: readonly { mode: Mode; label: string }[] = [
  { mode: 'state', label: 'State' },
  { mode: 'rssi', label: 'Signal (RSSI)' },
  { mode: 'score', label: 'Score' },
  { mode: 'firmware', label: 'Firmware' },
  { mode: 'depth', label: 'Depth' },
];

export type Outline = 'circle' | 'ring' | 'triangle' | 'square' | 'diamond' | 'pill' | 'dot';

/** A class of nodes that look the same. */
export interface Class {
  key: string;
  label: string;
  fill: string;
  /** What stands in the node: at most three characters. */
  mark: string;
}

export interface LegendItem extends Class {
  count: number;
  outline: Outline;
}

export const UNKNOWN: Class = { key: 'unknown', label: 'not known', fill: '#8a8f98', mark: '?' };

const STATES: Record<NodeState, Class & { outline: Outline }> = {
  online: { key: 'online', label: 'online', fill: '#009e73', mark: '', outline: 'circle' },
  learning: { key: 'learning', label: 'learning', fill: '#8a8f98', mark: '', outline: 'ring' },
  suspect: { key: 'suspect', label: 'suspect', fill: '#e69f00', mark: '!', outline: 'triangle' },
  offline: { key: 'offline', label: 'offline', fill: '#d55e00', mark: '×', outline: 'square' },
  sleeping: { key: 'sleeping', label: 'asleep', fill: '#56b4e9', mark: 'z', outline: 'pill' },
  unreachable: { key: 'unreachable', label: 'unreachable', fill: '#cc79a7', mark: '/', outline: 'diamond' },
  forgotten: { key: 'forgotten', label: 'forgotten', fill: '#5b6068', mark: '', outline: 'dot' },
};

/** Good to bad, as blue to orange. */
const GRADES = ['#0b5394', '#4a90c4', '#9aa7b1', '#f0a13a', '#c44601'] as const;
const DEPTHS = ['#440154', '#46327e', '#365c8d', '#277f8e', '#1fa187', '#4ac16d', '#a0da39', '#fde725'] as const;
const KINDS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442'] as const;
const OTHERS: Class = { key: 'others', label: 'other versions', fill: '#5b6068', mark: '…' };

/** Lower edges of the classes of signal, in dBm; docs/health.md takes points away from −70 on. */
const RSSI_EDGES: readonly [number, string][] = [
  [-60, '−60 dBm and more'],
  [-70, '−70 to −61 dBm'],
  [-78, '−78 to −71 dBm'],
  [-85, '−85 to −79 dBm'],
  [-Infinity, 'below −85 dBm'],
];
/** Lower edges of the classes of score: 80 is ok, 50 is warning. */
const SCORE_EDGES: readonly [number, string][] = [
  [90, '90 to 100'],
  [80, '80 to 89'],
  [65, '65 to 79'],
  [50, '50 to 64'],
  [-Infinity, 'below 50'],
];

function graded(value: number | null | undefined, edges: readonly [number, string][], mark: string): Class {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const at = edges.findIndex(([edge]) => value >= edge);
  const [, label] = edges[at] as [number, string];
  return { key: String(at), label, fill: GRADES[at] as string, mark };
}

export function outlineOf(state: NodeState): Outline {
  return STATES[state]?.outline ?? 'circle';
}

/** A node's last value of a metric. */
export function metric(node: Node | undefined, name: string): number | null {
  return node?.metrics?.find((each) => each.name === name)?.value ?? null;
}

export interface Seen {
  node: Node | undefined;
  depth: number | null;
  /** What its version is called. */
  version: string | null;
}

export interface Scale {
  of(seen: Seen): Class;
  /** Classes that are there, in their order. */
  legend(all: Iterable<Seen>): LegendItem[];
}

/** The scale of a mode. Versions are ranked by how many run them, so it looks at all nodes first. */
export function scaleOf(mode: Mode, all: Iterable<Seen>): Scale {
  const of = classify(mode, mode === 'firmware' ? versions(all) : new Map());
  return { of, legend: (seen) => legend(mode, of, seen) };
}

function classify(mode: Mode, ranked: ReadonlyMap<string, number>): (seen: Seen) => Class {
  switch (mode) {
    case 'state':
      return ({ node }) => (node ? (STATES[node.state] ?? UNKNOWN) : UNKNOWN);
    case 'rssi':
      return ({ node }) => {
        const value = metric(node, 'rssi_dbm');
        return graded(value, RSSI_EDGES, value === null ? '' : String(Math.round(-value)));
      };
    case 'score':
      return ({ node }) => graded(node?.score.points, SCORE_EDGES, String(node?.score.points ?? ''));
    case 'depth':
      return ({ depth }) => {
        if (depth === null) return UNKNOWN;
        const label = depth === 0 ? 'gateway' : depth === 1 ? '1 hop' : `${depth} hops`;
        const fill = DEPTHS[Math.min(depth, DEPTHS.length - 1)] as string;
        return { key: String(depth).padStart(4, '0'), label, fill, mark: String(depth) };
      };
    case 'firmware':
      return ({ version }) => {
        const rank = version === null ? undefined : ranked.get(version);
        if (version === null || rank === undefined) return UNKNOWN;
        if (rank >= KINDS.length) return OTHERS;
        return { key: String(rank), label: version, fill: KINDS[rank] as string, mark: String.fromCharCode(65 + rank) };
      };
  }
}

/** Versions by rank, the most common first; equally common ones by name, so that colours stay. */
function versions(all: Iterable<Seen>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { version } of all) if (version !== null) counts.set(version, (counts.get(version) ?? 0) + 1);
  const order = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return new Map(order.map(([version], rank) => [version, rank]));
}

function legend(mode: Mode, of: (seen: Seen) => Class, all: Iterable<Seen>): LegendItem[] {
  const found = new Map<string, LegendItem>();
  for (const seen of all) {
    const own = of(seen);
    const item = found.get(own.key);
    if (item) item.count += 1;
    else {
      const outline = mode === 'state' && seen.node ? outlineOf(seen.node.state) : 'circle';
      // In a legend a class of many values has none of them in it.
      const mark = mode === 'rssi' || mode === 'score' ? '' : own.mark;
      found.set(own.key, { ...own, mark: own === UNKNOWN ? '?' : mark, outline, count: 1 });
    }
  }
  const rank = (item: LegendItem) => {
    if (item.key === UNKNOWN.key) return 1e6;
    if (mode === 'state') return Object.keys(STATES).indexOf(item.key);
    return item.key === OTHERS.key ? 1e5 : Number(item.key);
  };
  return [...found.values()].sort((a, b) => rank(a) - rank(b));
}

/** Relative luminance of `#rrggbb` (WCAG 2.2). */
export function luminance(colour: string): number {
  const part = (at: number) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
}

/** Contrast of two colours, 1 to 21. */
export function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** Black or white: what is read better on a colour. */
export function inkOn(fill: string): '#000000' | '#ffffff' {
  return contrast(fill, '#000000') >= contrast(fill, '#ffffff') ? '#000000' : '#ffffff';
}
