// Plans in waves and what comes of them, by the names of the interface's description. It has states and plans as plain
// text and objects; what this page knows of them is said here.

import type { components } from '../lib/generated/api';
import type { Rollout } from '../lib/types';

type Schemas = components['schemas'];
type With<S, K> = Omit<S, keyof K> & K;

export type Promotion = 'automatic' | 'after_canary' | 'manual';
export type OnFailure = 'rollback' | 'pause' | 'halt';

export type Phase =
  | 'staging' | 'waiting' | 'activating' | 'soaking' | 'approval' | 'rolling_back' | 'finished' | 'rolled_back' | 'halted' | 'aborted';
export type WaveState =
  | 'pending' | 'activating' | 'soaking' | 'approval' | 'passed' | 'broken' | 'rolling_back' | 'rolled_back' | 'stopped' | 'skipped';
export type Outcome =
  | 'waiting' | 'starting' | 'trial' | 'updated' | 'declined' | 'failed' | 'fault' | 'left_out' | 'reverted' | 'kept';
export type Verdict = 'holds' | 'undecided' | 'broken';
export type WaveVerb = 'approve' | 'pause' | 'resume' | 'abort' | 'rollback';

/** A node of a preview, and why it is where it is. */
export type Chosen = Schemas['PreviewNode'];
export type Preview = Schemas['RolloutPreview'];
export type WaveNode = With<Schemas['WaveNode'], { outcome: Outcome }>;
export type Finding = With<Schemas['GateFinding'], { verdict: Verdict }>;
export type Wave = With<Schemas['Wave'], { state: WaveState; nodes: WaveNode[]; findings: Finding[] }>;
export type Progress = With<
  Schemas['Progress'],
  { phase: Phase; verbs: WaveVerb[]; counts: Partial<Record<Outcome, number>>; waves: Wave[]; others: WaveNode[] }
>;

/** A roll-out with a plan. */
export type Planned = Rollout & { progress: Progress };
