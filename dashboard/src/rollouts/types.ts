// Plans in waves and what comes of them, as the interface has them.

import type { Forecast } from '../firmware/types';
import type { Rollout, RolloutNode } from '../lib/types';

export interface Selector {
  roles?: string[];
  hardware?: string[];
  versions?: string[];
  tags?: string[];
  nodes?: number[];
  except?: number[];
}

export type Size = number | string;

export interface Gate {
  kind: 'faults' | 'success' | 'failures' | 'restarts' | 'value';
  measure?: string;
  most?: number;
  percent_least?: number;
  failures_least?: number;
  worse_most?: number;
  nodes_least?: number;
  samples_least?: number;
}

export interface PlanWindow {
  days?: string[];
  from: string;
  until: string;
}

export type Promotion = 'automatic' | 'after_canary' | 'manual';
export type OnFailure = 'rollback' | 'pause' | 'halt';

/** As answers have it, whole; who sends one may leave out anything. */
export interface Plan {
  name: string;
  select?: Selector;
  canary: { size: Size; nodes?: number[]; soak_s?: number };
  waves: { size: Size; select?: Selector; soak_s?: number }[];
  gates: Gate[];
  confidence: number;
  soak: { soak_s: number; looks: number; baseline_s: number; patience_s: number };
  promotion: Promotion;
  approval_s: number;
  restart: { away_percent_most: number; away_s_most: number };
  windows: PlanWindow[];
  power: { battery_percent_least?: number | null; supply_mv_least?: number | null };
  retry: { attempts: number; pause_s: number };
  on_failure: OnFailure;
}

type Family = RolloutNode['family'];

/** A node of a preview, and why it is where it is. */
export interface Chosen {
  id: number;
  family?: Family | null;
  why: string;
}

export interface Preview {
  plan: Plan;
  waves: { wave: number; name: string; nodes: Chosen[]; batches: number; seconds: number; ends_after_seconds: number }[];
  left_out: Chosen[];
  no_way_back: number[];
  notes: string[];
  bytes: number;
  channel_seconds: number;
  staging_seconds: number;
  eta_seconds: number;
  forecast: Forecast;
}

export type Phase =
  | 'staging' | 'waiting' | 'activating' | 'soaking' | 'approval' | 'rolling_back' | 'finished' | 'rolled_back' | 'halted' | 'aborted';
export type WaveState =
  | 'pending' | 'activating' | 'soaking' | 'approval' | 'passed' | 'broken' | 'rolling_back' | 'rolled_back' | 'stopped' | 'skipped';
export type Outcome =
  | 'waiting' | 'starting' | 'trial' | 'updated' | 'declined' | 'failed' | 'fault' | 'left_out' | 'reverted' | 'kept';
export type Verdict = 'holds' | 'undecided' | 'broken';
export type WaveVerb = 'approve' | 'pause' | 'resume' | 'abort' | 'rollback';

export interface WaveNode {
  id: number;
  family?: Family | null;
  wave?: number | null;
  why: string;
  outcome: Outcome;
  reason?: string | null;
  tries: number;
}

export interface Finding {
  gate: string;
  verdict: Verdict;
  words: string;
  chance?: number | null;
  limit?: number | null;
  worse?: number | null;
  /** How many of them, of how many. */
  wave: number[];
  others: number[];
}

export interface Wave {
  wave: number;
  name: string;
  state: WaveState;
  began_at?: string | null;
  nodes: WaveNode[];
  batches: number[][];
  findings: Finding[];
}

export interface Progress {
  phase: Phase;
  paused: boolean;
  why: string;
  wave: number;
  since?: string | null;
  until?: string | null;
  eta_seconds?: number | null;
  verbs: WaveVerb[];
  counts: Partial<Record<Outcome, number>>;
  waves: Wave[];
  others: WaveNode[];
}

/** A roll-out with a plan. */
export type Planned = Rollout & { progress: Progress };

type One<A> = { parameters: { path: { id: number } }; responses: { 200: { content: A } } };
type Verb = { post: One<{ 'application/json': Rollout }> };

export interface RolloutPaths {
  '/api/v1/rollout-previews': { post: { responses: { 200: { content: { 'application/json': Preview } } } } };
  '/api/v1/rollouts/{id}/approve': Verb;
  '/api/v1/rollouts/{id}/rollback': Verb;
  '/api/v1/rollouts/{id}/report': { get: One<{ 'application/json': object; 'text/markdown': string }> };
}
