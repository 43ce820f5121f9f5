// The form of a plan, and the plan that it means. Pure.
//
// What is empty is left to the gateway, which has a default for all of it. What is no number goes as it is written:
// the gateway names it, with the place where it is.

import { seconds, span } from '../lib/span';
import type { OnFailure, Promotion } from './types';

/** Longest text that is read as a plan, in bytes: the gateway reads no longer ones either. */
export const PLAN_MAX = 64 * 1_024;
/** Most waves, gates and windows of a plan. */
export const ROWS_MAX = 20;

const LISTS = ['roles', 'hardware', 'versions', 'tags', 'nodes', 'except'] as const;
/** Lists of a selection, as text with commas or spaces. */
export type SelectorDraft = Record<(typeof LISTS)[number], string>;

export interface WaveDraft {
  size: string;
  soak_s: string;
  select: SelectorDraft;
}

const GATE_NUMBERS = ['most', 'percent_least', 'failures_least', 'worse_most', 'nodes_least', 'samples_least'] as const;
export type GateNumber = (typeof GATE_NUMBERS)[number];
export type GateKind = 'faults' | 'success' | 'failures' | 'restarts' | 'value';
export type GateDraft = Record<GateNumber, string> & { kind: GateKind; measure: string };

export interface WindowDraft {
  days: string[];
  from: string;
  until: string;
}

/** As fields of a form are: text. */
export interface Draft {
  name: string;
  select: SelectorDraft;
  canary: { size: string; nodes: string; soak_s: string };
  waves: WaveDraft[];
  /** `null` is what every plan has. */
  gates: GateDraft[] | null;
  confidence: string;
  soak: { soak_s: string; looks: string; baseline_s: string; patience_s: string };
  promotion: Promotion;
  approval_s: string;
  restart: { away_percent_most: string; away_s_most: string };
  windows: WindowDraft[];
  power: { battery_percent_least: string; supply_mv_least: string };
  retry: { attempts: string; pause_s: string };
  on_failure: OnFailure;
}

/** What each kind of gate is told beyond its name. */
export const GATE_FIELDS: Record<GateKind, readonly GateNumber[]> = {
  faults: ['most'],
  success: ['percent_least', 'failures_least'],
  failures: [],
  restarts: [],
  value: ['worse_most', 'nodes_least', 'samples_least'],
};
export const KINDS = Object.keys(GATE_FIELDS) as GateKind[];
export const MEASURES = ['free_heap_bytes', 'rssi_dbm', 'messages_rx', 'round_trip_ms', 'loop_time_ms', 'messages_tx'] as const;
export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export const PROMOTIONS: Record<Promotion, string> = {
  automatic: 'when all gates hold',
  after_canary: 'somebody, after the canary; then when all gates hold',
  manual: 'somebody, after each wave',
};
export const FAILURES: Record<OnFailure, string> = {
  rollback: 'all go back, and never take the image again',
  pause: 'nothing more begins until somebody decides',
  halt: 'it ends; nodes keep what they run',
};

export const emptySelector = (): SelectorDraft => ({ roles: '', hardware: '', versions: '', tags: '', nodes: '', except: '' });
export const emptyWave = (size = ''): WaveDraft => ({ size, soak_s: '', select: emptySelector() });
export const emptyWindow = (): WindowDraft => ({ days: [], from: '', until: '' });

export function emptyGate(kind: GateKind, measure = 'free_heap_bytes', more: Partial<Record<GateNumber, string>> = {}): GateDraft {
  return { most: '', percent_least: '', failures_least: '', worse_most: '', nodes_least: '', samples_least: '', ...more, kind, measure };
}

/** The gates that a plan has which names none, to be changed. */
export function usualGates(): GateDraft[] {
  const value = (measure: string, worse_most: string) => emptyGate('value', measure, { worse_most, nodes_least: '2', samples_least: '8' });
  return [
    emptyGate('faults', undefined, { most: '0' }), emptyGate('success', undefined, { percent_least: '90', failures_least: '2' }),
    emptyGate('failures'), emptyGate('restarts'),
    value('free_heap_bytes', '7'), value('round_trip_ms', '12'), value('rssi_dbm', '6'), value('messages_tx', '100'),
  ];
}

/** The plan that everybody begins with, for these nodes or for all. */
export function emptyDraft(nodes: readonly number[] = []): Draft {
  return {
    name: '', select: { ...emptySelector(), nodes: nodes.join(' ') }, canary: { size: '', nodes: '', soak_s: '' },
    waves: ['10 %', '40 %', 'rest'].map(emptyWave), gates: null, confidence: '', soak: { soak_s: '', looks: '', baseline_s: '', patience_s: '' },
    promotion: 'automatic', approval_s: '', restart: { away_percent_most: '', away_s_most: '' }, windows: [],
    power: { battery_percent_least: '', supply_mv_least: '' }, retry: { attempts: '', pause_s: '' }, on_failure: 'rollback',
  };
}

type Json = Record<string, unknown>;

/** A number, or the text as it is. */
function number(text: string): number | string {
  const trimmed = text.trim().replace('−', '-');
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}

/** Only what is said. */
function said<T extends Record<string, string>>(fields: T, read: (text: string, name: string) => unknown): Json {
  const found = Object.entries(fields).filter(([, text]) => String(text ?? '').trim() !== '');
  return Object.fromEntries(found.map(([name, text]) => [name, read(String(text), name)]));
}

const timed = (text: string, name: string) => (name.endsWith('_s') || name.endsWith('_s_most') ? seconds(text) : number(text));

/** Words by commas; ids also by spaces. */
function list(text: string, name: string): (string | number)[] {
  const ids = name === 'nodes' || name === 'except';
  const words = text.split(ids ? /[\s,;]+/ : /[,;\n]+/).map((word) => word.trim()).filter(Boolean);
  return ids ? words.map(number) : words;
}

function some(object: Json, name: string, value: unknown): void {
  const empty = value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
  if (!empty) object[name] = value;
}

function waveOf(wave: WaveDraft): Json {
  // Also where it is empty: then the gateway says what a size would be.
  const sent: Json = { size: wave.size.trim() && number(wave.size) };
  some(sent, 'select', said(wave.select, list));
  return { ...sent, ...said({ soak_s: wave.soak_s }, seconds) };
}

function gateOf(gate: GateDraft): Json {
  const numbers = Object.fromEntries(GATE_FIELDS[gate.kind].map((name) => [name, gate[name]]));
  return { kind: gate.kind, ...(gate.kind === 'value' ? { measure: gate.measure } : {}), ...said(numbers, number) };
}

/** The plan that a form means: what it does not say is not in it. */
export function planOf(draft: Draft): Json {
  const plan: Json = {};
  some(plan, 'name', draft.name.trim());
  some(plan, 'select', said(draft.select, list));
  const { nodes, ...canary } = draft.canary;
  some(plan, 'canary', { ...said(canary, timed), ...said({ nodes }, list) });
  plan.waves = draft.waves.map(waveOf);
  if (draft.gates) plan.gates = draft.gates.map(gateOf);
  Object.assign(plan, said({ confidence: draft.confidence }, number));
  some(plan, 'soak', said(draft.soak, timed));
  plan.promotion = draft.promotion;
  Object.assign(plan, said({ approval_s: draft.approval_s }, seconds));
  some(plan, 'restart', said(draft.restart, timed));
  some(plan, 'windows', draft.windows.map(({ days, from, until }) => ({ ...(days.length ? { days } : {}), from: from.trim(), until: until.trim() })));
  some(plan, 'power', said(draft.power, number));
  some(plan, 'retry', said(draft.retry, timed));
  plan.on_failure = draft.on_failure;
  return plan;
}

/** Reads a plan's parts, and writes down what the form has no place for. */
class Reader {
  readonly strange: string[] = [];

  object(value: unknown, at: string, known: readonly string[]): Json {
    if (value === undefined || value === null) return {};
    if (typeof value !== 'object' || Array.isArray(value)) {
      this.strange.push(at);
      return {};
    }
    for (const name of Object.keys(value)) if (!known.includes(name)) this.strange.push(at ? `${at}.${name}` : name);
    return value as Json;
  }

  rows(value: unknown, at: string): unknown[] | null {
    if (value === undefined || value === null) return null;
    if (Array.isArray(value) && value.length <= ROWS_MAX) return value;
    this.strange.push(at);
    return null;
  }

  text(object: Json, name: string, at: string): string {
    const value = object[name];
    if (value === undefined || value === null) return '';
    if (typeof value === 'number' && (name.endsWith('_s') || name.endsWith('_s_most'))) return span(value);
    if (typeof value === 'string' || typeof value === 'number') return String(value);
    this.strange.push(`${at}.${name}`);
    return '';
  }

  texts<T extends string>(value: unknown, at: string, names: readonly T[], more: readonly string[] = []): Record<T, string> {
    const object = this.object(value, at, [...names, ...more]);
    return Object.fromEntries(names.map((name) => [name, this.text(object, name, at)])) as Record<T, string>;
  }

  words(value: unknown, at: string, between = ', '): string {
    if (value === undefined || value === null) return '';
    if (Array.isArray(value) && value.every((word) => typeof word === 'string' || typeof word === 'number')) return value.join(between);
    this.strange.push(at);
    return '';
  }

  selector(value: unknown, at: string): SelectorDraft {
    const object = this.object(value, at, LISTS);
    return Object.fromEntries(LISTS.map((name) => [name, this.words(object[name], `${at}.${name}`)])) as SelectorDraft;
  }

  /** One of a few words; where it is none of them, the one after which least happens by itself. */
  choice<T extends string>(value: unknown, at: string, known: Record<T, unknown>, usual: T, careful: T): T {
    if (typeof value === 'string' && Object.hasOwn(known, value)) return value as T;
    if (value === undefined || value === null) return usual;
    this.strange.push(at);
    return careful;
  }

  wave(value: unknown, at: string): WaveDraft {
    const object = this.object(value, at, ['size', 'select', 'soak_s']);
    return { size: this.text(object, 'size', at), soak_s: this.text(object, 'soak_s', at), select: this.selector(object.select, `${at}.select`) };
  }

  gate(value: unknown, at: string): GateDraft[] {
    const { kind, measure } = (value ?? {}) as Json;
    if (typeof kind !== 'string' || !Object.hasOwn(GATE_FIELDS, kind)) {
      this.strange.push(at);
      return [];
    }
    const known = kind as GateKind;
    const numbers = this.texts(value, at, GATE_FIELDS[known], known === 'value' ? ['kind', 'measure'] : ['kind']);
    return [emptyGate(known, typeof measure === 'string' ? measure : undefined, numbers)];
  }

  window(value: unknown, at: string): WindowDraft {
    const object = this.object(value, at, ['days', 'from', 'until']);
    const days = this.words(object.days, `${at}.days`, ',').split(',').filter(Boolean);
    return { days, from: this.text(object, 'from', at), until: this.text(object, 'until', at) };
  }
}

const KEYS = Object.keys(emptyDraft());

/** The form of a plan, and the places in the plan for which the form has none. */
export function draftOf(plan: unknown): { draft: Draft; strange: string[] } {
  const reader = new Reader();
  const from = reader.object(plan, '', KEYS);
  const usual = emptyDraft();
  const canary = reader.object(from.canary, 'canary', ['size', 'nodes', 'soak_s']);
  const gates = reader.rows(from.gates, 'gates')?.flatMap((gate, index) => reader.gate(gate, `gates[${index}]`)) ?? null;
  const draft: Draft = {
    name: reader.text(from, 'name', 'plan'),
    select: reader.selector(from.select, 'select'),
    canary: {
      size: reader.text(canary, 'size', 'canary'), soak_s: reader.text(canary, 'soak_s', 'canary'),
      nodes: reader.words(canary.nodes, 'canary.nodes', ' '),
    },
    waves: reader.rows(from.waves, 'waves')?.map((wave, index) => reader.wave(wave, `waves[${index}]`)) ?? usual.waves,
    gates: JSON.stringify(gates) === JSON.stringify(usualGates()) ? null : gates,
    confidence: reader.text(from, 'confidence', 'plan'),
    soak: reader.texts(from.soak, 'soak', ['soak_s', 'looks', 'baseline_s', 'patience_s']),
    promotion: reader.choice(from.promotion, 'promotion', PROMOTIONS, 'automatic', 'manual'),
    approval_s: reader.text(from, 'approval_s', 'plan'),
    restart: reader.texts(from.restart, 'restart', ['away_percent_most', 'away_s_most']),
    windows: reader.rows(from.windows, 'windows')?.map((window, index) => reader.window(window, `windows[${index}]`)) ?? [],
    power: reader.texts(from.power, 'power', ['battery_percent_least', 'supply_mv_least']),
    retry: reader.texts(from.retry, 'retry', ['attempts', 'pause_s']),
    on_failure: reader.choice(from.on_failure, 'on_failure', FAILURES, 'rollback', 'rollback'),
  };
  return { draft, strange: reader.strange };
}

/** The form of a plan's text. Throws words where it is none. */
export function draftOfText(text: string): { draft: Draft; strange: string[] } {
  if (text.length > PLAN_MAX) throw new Error(`a plan has at most ${PLAN_MAX / 1_024} KB`);
  let plan: unknown;
  try {
    plan = JSON.parse(text);
  } catch (error) {
    throw new Error(`this is no JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof plan !== 'object' || plan === null || Array.isArray(plan)) throw new Error('a plan is a JSON object, such as {"waves": [{"size": "rest"}]}');
  return draftOf(plan);
}

/** What a file of it is called. */
export function planFile(draft: Draft): string {
  const name = draft.name.trim().replaceAll(/[^\p{L}\p{N}._-]+/gu, '-').replaceAll(/^[-.]+|[-.]+$/g, '').slice(0, 60);
  return `${name || 'plan'}.json`;
}

/** What stands in a plan for which nobody wrote anything: for placeholders. */
export const USUAL = {
  canary: 3,
  confidence: 0.99,
  approval_s: 604_800,
  soak: { soak_s: 1_800, looks: 6, baseline_s: 600, patience_s: 1_800 },
  restart: { away_percent_most: 25, away_s_most: 300 },
  retry: { attempts: 2, pause_s: 60 },
};
