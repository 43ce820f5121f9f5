// How far a roll-out is. Pure.

import type { Rollout } from './types';

export interface Progress {
  all: number;
  updated: number;
  failed: number;
  declined: number;
  /** Of all, 0 to 1: who is done counts whole, who receives by what it has. */
  share: number;
}

/** Roll-outs that are shown in short, with those under way always. */
const SHOWN = 3;

/** All that are under way, and as many of the newest as there is room for. */
export function inShort(rollouts: Iterable<Rollout>): Rollout[] {
  const newest = [...rollouts].sort((a, b) => b.id - a.id);
  const going = newest.filter((each) => each.state !== 'finished');
  const over = newest.filter((each) => each.state === 'finished');
  return [...going, ...over.slice(0, Math.max(0, SHOWN - going.length))];
}

export function progress(rollout: Rollout): Progress {
  const so: Progress = { all: rollout.nodes.length, updated: 0, failed: 0, declined: 0, share: 0 };
  let done = 0;
  for (const node of rollout.nodes) {
    if (node.state === 'updated') so.updated += 1;
    else if (node.state === 'failed') so.failed += 1;
    else if (node.state === 'declined') so.declined += 1;
    const final = node.state === 'updated' || node.state === 'failed' || node.state === 'declined';
    // What comes after the transfer is a tenth of the way.
    done += final ? 1 : node.parts > 0 ? 0.9 * Math.min(1, node.done / node.parts) : 0;
  }
  so.share = so.all > 0 ? done / so.all : 0;
  return so;
}
