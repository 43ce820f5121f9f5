// Points of a history as the columns that a chart draws. Pure.

import type { Point } from './types';

/** A range that can be chosen. */
export interface Range {
  name: string;
  text: string;
  seconds: number;
}

export const RANGES: Range[] = [
  { name: '1h', text: '1 h', seconds: 3_600 },
  { name: '6h', text: '6 h', seconds: 6 * 3_600 },
  { name: '1d', text: '1 d', seconds: 86_400 },
  { name: '1w', text: '1 week', seconds: 7 * 86_400 },
  { name: '30d', text: '30 d', seconds: 30 * 86_400 },
  { name: '90d', text: '90 d', seconds: 90 * 86_400 },
  { name: '1y', text: '1 year', seconds: 365 * 86_400 },
];

/** The shortest span that can be zoomed to, in seconds. */
export const SPAN_MIN_S = 30;

/** What a chart draws of one line. Times are seconds since 1970; null is a gap. */
export interface Columns {
  at: number[];
  value: (number | null)[];
  min: (number | null)[];
  max: (number | null)[];
}

/** Makes columns of points. Between points that are further apart than usual there is a gap: nothing was measured. */
export function columns(points: readonly Point[], stepSeconds: number): Columns {
  const made: Columns = { at: [], value: [], min: [], max: [] };
  const gap = stepSeconds > 0 ? stepSeconds * 2.5 : usual(points) * 5;
  let before: number | null = null;
  for (const point of points) {
    const at = Date.parse(point.at) / 1_000;
    if (!Number.isFinite(at) || (before !== null && at <= before)) continue;
    if (before !== null && at - before > gap) {
      made.at.push((before + at) / 2);
      made.value.push(null);
      made.min.push(null);
      made.max.push(null);
    }
    made.at.push(at);
    made.value.push(point.value);
    made.min.push(point.min);
    made.max.push(point.max);
    before = at;
  }
  return made;
}

/** The usual time between points in seconds, at least a minute: raw values come when something changed. */
function usual(points: readonly Point[]): number {
  const times = points.map((point) => Date.parse(point.at) / 1_000);
  const between = times.slice(1).map((at, index) => at - (times[index] ?? at));
  between.sort((a, b) => a - b);
  return Math.max(60, between[Math.floor(between.length / 2)] ?? 60);
}

/** The last, least and greatest value in words' place; null without any. */
export function summary(points: readonly Point[]): { last: number; min: number; max: number } | null {
  const last = points.at(-1);
  if (!last) return null;
  return {
    last: last.value,
    min: points.reduce((least, point) => Math.min(least, point.min), Number.POSITIVE_INFINITY),
    max: points.reduce((most, point) => Math.max(most, point.max), Number.NEGATIVE_INFINITY),
  };
}

/** Something that happened, at its place in a chart. */
export interface Mark {
  /** Seconds since 1970. */
  at: number;
  text: string;
  bad: boolean;
}

/** Marks that are drawn in a span, the newest: more would be a wall. */
export function marksIn<M extends Mark>(marks: readonly M[], from: number, to: number, most = 60): M[] {
  return marks.filter((mark) => mark.at >= from && mark.at <= to).sort((a, b) => a.at - b.at).slice(-most);
}

/** Marks that are as near to a place as `reach`, by their places. */
export function near<M extends { x: number }>(marks: readonly M[], x: number, reach = 5): M[] {
  return marks.filter((mark) => Math.abs(mark.x - x) <= reach);
}

/** To which of `all` marks a key leads; `null` for any other key. */
export function stepped(key: string, at: number, all: number): number | null {
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all - 1 }[key];
  return to === undefined ? null : Math.min(Math.max(to, 0), all - 1);
}

/** What the address says of the time that is shown; a zoom has both ends, a range ends now. */
export function readSpan(query: URLSearchParams): { range: Range; zoom: { from: number; to: number } | null } {
  const range = RANGES.find((one) => one.name === query.get('range')) ?? RANGES[0]!;
  const from = Number(query.get('from') ?? Number.NaN);
  const to = Number(query.get('to') ?? Number.NaN);
  const right = Number.isFinite(from) && Number.isFinite(to) && from > 0 && to - from >= SPAN_MIN_S && to < 1e11;
  return { range, zoom: right ? { from, to } : null };
}

/** Metrics in the order in which people look at them; others after them. */
const FIRST = ['free_heap_bytes', 'rssi_dbm', 'round_trip_ms', 'loss_percent', 'chip_temperature_c', 'battery_percent', 'temperature_c', 'humidity_percent'];
/** Names, not amounts: a line of them says nothing. */
const NAMES = ['parent', 'firmware_id', 'reset_reason', 'status_byte', 'wifi_byte', 'alert_bits', 'router_channel'];

export function graphable(names: readonly string[]): string[] {
  const left = names.filter((name) => !NAMES.includes(name));
  const place = (name: string) => (FIRST.indexOf(name) + 1 || FIRST.length + 1) - 1;
  return [...new Set(left)].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

/** Counters come as rates from the database. */
const COUNTERS = ['uptime_s', 'messages_rx', 'messages_tx', 'messages_dropped', 'bytes_rx', 'bytes_tx', 'boots', 'links_lost', 'update_chunks', 'deadlines_missed', 'crashes'];

export function isCounter(name: string): boolean {
  return COUNTERS.includes(name);
}

const UNITS: Record<string, string> = { bytes: 'B', dbm: 'dBm', ms: 'ms', percent: '%', c: '°C', s: 's', mv: 'mV', hpa: 'hPa', us: 'µs', permille: '‰' };

/** The unit of a metric by its name, which has it last. */
export function unitOf(name: string): string {
  return UNITS[name.slice(name.lastIndexOf('_') + 1)] ?? '';
}
