// How much the tree has changed lately, in bars. Pure.
//
// Before the oldest event that is known nobody can say: there are no bars, which is not the same as bars of zero.

import type { MeshEvent } from './types';

/** A span of bars, in seconds, and how many there are. */
export const BAR_S = 300;
export const BARS = 24;

/** Changes of the tree in each bar, the oldest first; `null` where nothing is known. `now` is in ms. */
export function churn(events: readonly MeshEvent[], now: number): (number | null)[] {
  const end = Math.ceil(now / 1_000 / BAR_S) * BAR_S;
  const start = end - BARS * BAR_S;
  const known = events.length > 0 ? Date.parse(events[0]!.at) / 1_000 : Number.POSITIVE_INFINITY;
  const bars = Array.from({ length: BARS }, (_, index): number | null => (start + (index + 1) * BAR_S <= known ? null : 0));
  for (const event of events) {
    if (event.kind !== 'topology') continue;
    const index = Math.floor((Date.parse(event.at) / 1_000 - start) / BAR_S);
    const bar = bars[index];
    if (bar !== null && bar !== undefined) bars[index] = bar + 1;
  }
  return bars;
}
