// The tree of a while ago beside that of now: who was elsewhere, and who is not here any more. Pure.

import type { MeshEvent } from '../lib/types';
import { delta, type Tree } from './model';
import type { Class, LegendItem, Scale, Seen } from './scales';

const SAME: Class = { key: 'same', label: 'same place now', fill: '#9aa7b1', mark: '' };
const MOVED: Class = { key: 'moved', label: 'elsewhere now', fill: '#e69f00', mark: '→' };
const GONE: Class = { key: 'gone', label: 'not in the tree now', fill: '#d55e00', mark: '−' };
const UNSURE: Class = { key: 'unsure', label: 'moved all the time: may have been elsewhere', fill: '#cc79a7', mark: '~' };
const ALL = [SAME, MOVED, GONE, UNSURE];

/** Colours of then by what is different now. */
export function scaleOfThen(then: Tree, now: Tree, uncertain: readonly number[]): { of(id: number): Class; legend(): LegendItem[] } {
  const change = delta(then, now);
  const classes = new Map<number, Class>();
  for (const id of change.left) classes.set(id, GONE);
  for (const { id } of change.moved) classes.set(id, MOVED);
  for (const id of uncertain) classes.set(id, UNSURE);
  const of = (id: number) => classes.get(id) ?? SAME;
  const legend = () => {
    const counts = new Map<string, number>();
    for (const id of then.places.keys()) counts.set(of(id).key, (counts.get(of(id).key) ?? 0) + 1);
    return ALL.filter((each) => counts.has(each.key)).map((each) => ({
      ...each,
      outline: 'circle' as const,
      count: counts.get(each.key) ?? 0,
    }));
  };
  return { of, legend };
}

/** The same as a scale: who is seen is asked for by id. */
export function asScale(then: ReturnType<typeof scaleOfThen>, idOf: (seen: Seen) => number): Scale {
  return { of: (seen) => then.of(idOf(seen)), legend: () => then.legend() };
}

/** When the tree changed, in ms since 1970, the oldest first; what changed within a second is one change. */
export function changes(events: Iterable<MeshEvent>): number[] {
  const times: number[] = [];
  for (const event of events) {
    if (event.kind !== 'topology') continue;
    const at = Date.parse(event.at);
    if (!Number.isFinite(at)) continue;
    const last = times.at(-1);
    if (last !== undefined && at - last < 1_000) times[times.length - 1] = at;
    else times.push(at);
  }
  return times;
}

/** The change before or after a time; `null` where there is none, which after the last one is now. */
export function neighbour(times: readonly number[], at: number, by: -1 | 1): number | null {
  if (by > 0) return times.find((time) => time > at) ?? null;
  return times.findLast((time) => time < at) ?? null;
}
