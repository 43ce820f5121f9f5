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
