// A roll-out in waves, for people: where it is, what each wave came to, what a verb would do. Pure.

import { count, number, plain, type Tone } from '../lib/format';
import type { Rollout } from '../lib/types';
import type { Finding, Outcome, Phase, Planned, Progress, Wave, WaveNode, WaveState, WaveVerb } from './types';

export const PHASES: Record<Phase, { words: string; tone: Tone }> = {
  staging: { words: 'the image is brought to everybody', tone: 'live' },
  waiting: { words: 'waits before it goes on', tone: 'warn' },
  activating: { words: 'nodes start the image', tone: 'live' },
  soaking: { words: 'nodes are watched', tone: 'live' },
  approval: { words: 'somebody has to decide', tone: 'warn' },
  rolling_back: { words: 'nodes go back', tone: 'bad' },
  finished: { words: 'finished', tone: 'ok' },
  rolled_back: { words: 'rolled back', tone: 'bad' },
  halted: { words: 'halted', tone: 'bad' },
  aborted: { words: 'aborted', tone: 'warn' },
};

export const WAVE_STATES: Record<WaveState, { words: string; tone: Tone }> = {
  pending: { words: 'waits', tone: 'quiet' },
  activating: { words: 'starts the image', tone: 'live' },
  soaking: { words: 'is watched', tone: 'live' },
  approval: { words: 'waits for a decision', tone: 'warn' },
  passed: { words: 'passed', tone: 'ok' },
  broken: { words: 'broke a gate', tone: 'bad' },
  rolling_back: { words: 'goes back', tone: 'bad' },
  rolled_back: { words: 'is back', tone: 'warn' },
  stopped: { words: 'was stopped', tone: 'warn' },
  skipped: { words: 'never begins', tone: 'quiet' },
};

/** Outcomes in the order in which somebody should look. */
export const OUTCOMES: readonly { outcome: Outcome; words: string; tone: Tone }[] = [
  { outcome: 'fault', words: 'went back by itself', tone: 'bad' },
  { outcome: 'failed', words: 'failed', tone: 'bad' },
  { outcome: 'kept', words: 'kept the image', tone: 'bad' },
  { outcome: 'starting', words: 'starting', tone: 'live' },
  { outcome: 'trial', words: 'on trial', tone: 'live' },
  { outcome: 'updated', words: 'updated', tone: 'ok' },
  { outcome: 'reverted', words: 'back again', tone: 'warn' },
  { outcome: 'waiting', words: 'waiting', tone: 'quiet' },
  { outcome: 'declined', words: 'declined', tone: 'quiet' },
  { outcome: 'left_out', words: 'left out', tone: 'quiet' },
];

/** A word that the gateway may have in later versions is said as it is. */
const known = <K extends string>(words: Record<K, { words: string; tone: Tone }>, key: K) => words[key] ?? { words: plain(key), tone: 'quiet' };

export const phaseOf = (phase: Phase) => known(PHASES, phase);
export const waveState = (state: WaveState) => known(WAVE_STATES, state);
export const outcomeOf = (outcome: Outcome) => OUTCOMES.find((each) => each.outcome === outcome) ?? { outcome, words: plain(outcome), tone: 'quiet' as Tone };

/** Whether it goes by a plan. */
export function isPlanned(rollout: Rollout): rollout is Planned {
  return rollout.progress !== null && rollout.progress !== undefined;
}

/** What people call its plan, where they call it anything. */
export function planName(rollout: Rollout): string | null {
  const name: unknown = (rollout.plan as { name?: unknown } | null | undefined)?.name;
  return typeof name === 'string' && name && name !== 'default' ? name : null;
}

const OVER: readonly Phase[] = ['finished', 'rolled_back', 'halted', 'aborted'];

/** Whether the whole plan is over. */
export function isOver(progress: Progress): boolean {
  return OVER.includes(progress.phase);
}

/** The phase in one line, with its wave. */
export function phaseWords(progress: Progress): string {
  const { words } = phaseOf(progress.phase);
  const wave = progress.waves.find((each) => each.wave === progress.wave);
  const named = wave && !isOver(progress) && progress.phase !== 'staging' && progress.phase !== 'rolling_back' ? `${wave.name}: ${words}` : words;
  return progress.paused ? `paused; ${named}` : named;
}

export interface Tally {
  outcome: Outcome;
  words: string;
  tone: Tone;
  count: number;
}

/** How many have each outcome, those with none left out. */
export function tally(counts: Progress['counts']): Tally[] {
  const strange = Object.keys(counts).filter((name) => !OUTCOMES.some((each) => each.outcome === name)) as Outcome[];
  return [...OUTCOMES, ...strange.map(outcomeOf)].map((each) => ({ ...each, count: counts[each.outcome] ?? 0 })).filter((each) => each.count > 0);
}

export function countsOf(nodes: readonly WaveNode[]): Progress['counts'] {
  const counts: Progress['counts'] = {};
  for (const node of nodes) counts[node.outcome] = (counts[node.outcome] ?? 0) + 1;
  return counts;
}

/** Nodes as they are listed: by outcome, within one by id. */
export function ordered(nodes: readonly WaveNode[], only: Outcome | null): WaveNode[] {
  const rank = (node: WaveNode) => OUTCOMES.findIndex((each) => each.outcome === node.outcome);
  const wanted = only === null ? [...nodes] : nodes.filter((node) => node.outcome === only);
  return wanted.sort((a, b) => rank(a) - rank(b) || a.id - b.id);
}

/** Everybody of a roll-out, those in no wave last. */
export function everybody(progress: Progress): WaveNode[] {
  return [...progress.waves.flatMap((wave) => wave.nodes), ...progress.others];
}

/** The wave that a page opens with: that which somebody asked for, else the one under way, else the last that began. */
export function chosenWave(progress: Progress, asked: string | null): Wave | null {
  const { waves } = progress;
  const begun = waves.findLast((wave) => wave.began_at);
  return waves.find((wave) => String(wave.wave) === asked) ?? waves.find((wave) => wave.wave === progress.wave) ?? begun ?? waves[0] ?? null;
}

/** What of a wave's nodes is settled, 0 to 1; of one that never begins nothing is. */
export function settled(wave: Wave): number {
  if (wave.state === 'skipped') return 0;
  const open = wave.nodes.filter((node) => ['waiting', 'starting', 'trial'].includes(node.outcome)).length;
  return wave.nodes.length > 0 ? 1 - open / wave.nodes.length : 0;
}

export const VERBS: Record<WaveVerb, { title: string; did: string; grave: boolean }> = {
  approve: { title: 'Approve', did: 'approved', grave: false },
  pause: { title: 'Pause', did: 'paused', grave: false },
  resume: { title: 'Resume', did: 'goes on', grave: false },
  abort: { title: 'Abort', did: 'ended', grave: true },
  rollback: { title: 'Roll back', did: 'goes back', grave: true },
};

/** What may be done now; a verb of later versions has no button. */
export function verbsOf(progress: Progress): WaveVerb[] {
  return progress.verbs.filter((verb) => Object.hasOwn(VERBS, verb));
}

/** Outcomes of nodes that a way back is for. */
const RUNS: readonly Outcome[] = ['starting', 'trial', 'updated', 'kept'];

/** So many nodes do something: `1 node keeps`, `2 nodes keep`. */
const nodes = (many: readonly unknown[], one: string, more: string) => `${count(many.length, 'node')} ${many.length === 1 ? one : more}`;

/** Nodes that run the image, or are about to. */
export const running = (progress: Progress) => everybody(progress).filter((node) => RUNS.includes(node.outcome));

/** What a verb would do, with how many nodes it concerns. */
export function consequence(verb: WaveVerb, { progress }: Planned): string[] {
  const all = everybody(progress);
  const runs = running(progress);
  const open = all.filter((node) => node.outcome === 'waiting');
  switch (verb) {
    case 'approve': {
      const next = progress.waves.find((wave) => wave.state === 'pending');
      return [next ? `${next.name} begins: ${nodes(next.nodes, 'starts', 'start')} the image.` : 'It was the last wave: the roll-out is finished.'];
    }
    case 'pause':
      return [`Nothing more is sent or begun: ${nodes(open, 'waits', 'wait')}, ${nodes(runs, 'goes', 'go')} on with the image. After a week it is halted.`];
    case 'resume':
      return [`It goes on where it was: ${nodes(open, 'still waits', 'still wait')} for the image.`];
    case 'abort':
      return [`It ends here. ${nodes(open, 'keeps what it runs', 'keep what they run')}; ${nodes(runs, 'that has started the image stays', 'that have started the image stay')} with it.`];
    case 'rollback': {
      const stock = runs.filter((node) => node.family === 'stock').length;
      const back = `${nodes(runs.filter((node) => node.family !== 'stock'), 'is', 'are')} ordered back to the image before, the last wave first; no node takes this image again.`;
      return stock > 0 ? [back, `${count(stock, 'stock node')} cannot be taken back but by another update: ${stock === 1 ? 'it keeps' : 'they keep'} the image.`] : [back];
    }
  }
}

/** A gate's numbers in words: how many of them, of the others, by how much, how probable. */
export function evidence(finding: Finding): string {
  const share = (pair: number[]) => `${number(pair[0] ?? 0, 0)} of ${number(pair[1] ?? 0, 0)}`;
  const parts = [`wave ${share(finding.wave)}`, `others ${share(finding.others)}`];
  if (finding.worse !== null && finding.worse !== undefined) {
    const unit = finding.gate === 'rssi_dbm' ? 'dB' : '%';
    parts.push(`${number(Math.abs(finding.worse))} ${unit} ${finding.worse < 0 ? 'better' : 'worse'}`);
  }
  if (finding.chance !== null && finding.chance !== undefined) parts.push(`by chance ${chance(finding.chance)}`);
  if (finding.limit !== null && finding.limit !== undefined) parts.push(`breaks below ${chance(finding.limit)}`);
  return parts.join(' · ');
}

/** A probability so that small ones can be told apart. */
export function chance(value: number): string {
  if (value === 0) return '0';
  if (value >= 0.01) return number(value, 2);
  return `1 in ${number(Math.round(1 / value), 0)}`;
}
