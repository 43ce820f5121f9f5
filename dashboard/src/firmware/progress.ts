// Where each node of a roll-out is, for people: per cent, order, groups, what may be done now. Pure.

import type { Rollout, RolloutNode } from '../lib/types';

export type Stage = 'failed' | 'under_way' | 'ready' | 'waiting' | 'updated' | 'declined';

/** The stages in the order in which somebody should look. */
export const STAGES: readonly { stage: Stage; words: string }[] = [
  { stage: 'failed', words: 'failed' },
  { stage: 'under_way', words: 'under way' },
  { stage: 'ready', words: 'ready to restart' },
  { stage: 'waiting', words: 'waiting' },
  { stage: 'updated', words: 'updated' },
  { stage: 'declined', words: 'declined' },
];

const STAGE_OF: Record<RolloutNode['state'], Stage> = {
  waiting: 'waiting',
  announced: 'under_way',
  listening: 'under_way',
  receiving: 'under_way',
  installing: 'under_way',
  ready: 'ready',
  finishing: 'under_way',
  restarting: 'under_way',
  verifying: 'under_way',
  updated: 'updated',
  declined: 'declined',
  failed: 'failed',
};

/** A state that the API may have in later versions is under way. */
export function stageOf(line: RolloutNode): Stage {
  return STAGE_OF[line.state] ?? 'under_way';
}

/** How much of the image a node has, 0 to 100; `null` while that is not known. */
export function percentOf(line: RolloutNode): number | null {
  if (line.state === 'updated') return 100;
  if (line.parts <= 0) return null;
  return Math.min(100, Math.max(0, Math.round((line.done / line.parts) * 100)));
}

/** Lines as they are listed: by stage, within one by id, so that a row stays in its place while it receives. */
export function ordered(lines: readonly RolloutNode[], only: Stage | null): RolloutNode[] {
  const rank = (line: RolloutNode) => STAGES.findIndex(({ stage }) => stage === stageOf(line));
  const wanted = only === null ? [...lines] : lines.filter((line) => stageOf(line) === only);
  return wanted.sort((a, b) => rank(a) - rank(b) || a.id - b.id);
}

export function counts(lines: readonly RolloutNode[]): Map<Stage, number> {
  const found = new Map<Stage, number>();
  for (const line of lines) found.set(stageOf(line), (found.get(stageOf(line)) ?? 0) + 1);
  return found;
}

export type Verb = 'pause' | 'resume' | 'abort' | 'activate';

/** What can be done with a roll-out as it is. */
export function verbs(rollout: Rollout): Verb[] {
  // One in waves is led by its plan: its own page has the verbs.
  if (rollout.state === 'finished' || rollout.progress) return [];
  const paused = rollout.state === 'paused';
  const held = rollout.hold && rollout.nodes.some((line) => line.state === 'ready');
  return [...(held && !paused ? (['activate'] as const) : []), paused ? 'resume' : 'pause', 'abort'];
}

/** What a verb would do, with how many nodes it concerns. */
export function consequence(verb: Verb, rollout: Rollout, chosen: number): string {
  const open = rollout.nodes.filter((line) => !['updated', 'declined', 'failed'].includes(stageOf(line))).length;
  const nodes = (many: number) => (many === 1 ? '1 node' : `${many} nodes`);
  switch (verb) {
    case 'abort':
      return `${nodes(open)} that are not done yet keep what they run. Nodes that were updated stay so.`;
    case 'activate':
      return `${nodes(chosen)} restart into the new image, the farthest from the gateway first.`;
    case 'pause':
      return `Nothing more is sent to ${nodes(open)} until it is resumed.`;
    case 'resume':
      return `${nodes(open)} go on where they were.`;
  }
}

/** Those whom a second attempt is for. */
export function failedOf(rollout: Rollout): number[] {
  return rollout.nodes.filter((line) => line.state === 'failed').map((line) => line.id).sort((a, b) => a - b);
}

/** The roll-out that a page opens with: what runs, before what waits for its turn; else the newest. */
export function foremost(rollouts: Iterable<Rollout>): Rollout | null {
  const all = [...rollouts].sort((a, b) => b.id - a.id);
  const going = all.filter((each) => each.state !== 'finished');
  return going.find((each) => !each.waits_for) ?? going[0] ?? all[0] ?? null;
}
