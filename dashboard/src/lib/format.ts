// Values in words: ages, times, sizes, shares, names. Pure; what is not known is a dash, never a zero.

/** What is written where nothing is known. */
export const NOTHING = '–';

/** How a state is meant, beside its word. */
export type Tone = 'ok' | 'warn' | 'bad' | 'live' | 'quiet';

const UNITS: [number, string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
];

/** A span of seconds in its two largest units: `3 min 20 s`, `2 d 4 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NOTHING;
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds < 1) return seconds === 0 ? '0 s' : `${Math.round(seconds * 1_000)} ms`;
  let rest = Math.round(seconds);
  const parts: string[] = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    // Two neighbours at most: nobody wants the seconds of a day.
    if (parts.length === 2 || (parts.length === 1 && count === 0)) break;
  }
  return parts.join(' ');
}

/** Seconds since a time, never below 0: clocks differ. */
export function ageSeconds(at: string | null | undefined, now: number): number | null {
  if (!at) return null;
  const then = Date.parse(at);
  return Number.isFinite(then) ? Math.max(0, (now - then) / 1_000) : null;
}

/** How long ago: `now`, `12 s ago`, `5 min ago`, `3 d ago`. */
export function ago(at: string | null | undefined, now: number): string {
  const seconds = ageSeconds(at, now);
  if (seconds === null) return 'never';
  if (seconds < 2) return 'now';
  return `${short(seconds)} ago`;
}

/** A span in its largest unit alone: `12 s`, `5 min`, `3 d`. */
export function short(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NOTHING;
  for (const [size, unit] of UNITS) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return '0 s';
}

/** A time as people here write it; with the date when it was not today. */
export function time(at: string | number | null | undefined, now: number): string {
  if (at === null || at === undefined) return NOTHING;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return NOTHING;
  const today = new Date(now).toDateString() === date.toDateString();
  const clock = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  return today ? clock : `${date.toLocaleDateString(undefined, { day: '2-digit', month: 'short' })} ${clock}`;
}

/** A time to the second with its date, for titles. */
export function fullTime(at: string | number | null | undefined): string {
  const date = new Date(at ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? NOTHING : date.toLocaleString(undefined, { hourCycle: 'h23' });
}

/** A number with at most so many digits after the point, without zeros at its end. */
export function number(value: number | null | undefined, digits = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  return value.toLocaleString(undefined, { maximumFractionDigits: digits });
}

/** Bytes in binary units: `912 B`, `183 KB`, `1.4 MB`. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  const sign = value < 0 ? '−' : '';
  let size = Math.abs(value);
  if (size < 1_024) return `${sign}${Math.round(size)} B`;
  for (const unit of ['KB', 'MB', 'GB', 'TB']) {
    size /= 1_024;
    if (size < 1_023.5 || unit === 'TB') return `${sign}${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
  }
  return NOTHING;
}

/** A share that is in percent already: `0.42 %`, `7.5 %`, `100 %`. */
export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  const digits = Math.abs(value) < 1 ? 2 : Math.abs(value) < 10 ? 1 : 0;
  return `${number(value, digits)} %`;
}

/** A share of 1 as percent. */
export function ratio(value: number | null | undefined): string {
  return percent(value === null || value === undefined ? value : value * 100);
}

/** A value of a metric with its unit, sized for people. */
export function measured(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  switch (unit) {
    case 'bytes':
    case 'B':
      return bytes(value);
    case 'ratio':
      return ratio(value);
    case 'percent':
    case '%':
      return percent(value);
    case 'seconds':
    case 's':
      return duration(value);
    case 'ms':
      return `${number(value, value < 10 ? 1 : 0)} ms`;
    case '':
      return number(value, 2);
    default:
      return `${number(value, 2)} ${unit}`;
  }
}

/** A metric's name for people: `free_heap_bytes` is `free heap`. */
export function metricName(name: string): string {
  return name.replace(/_(bytes|dbm|ms|s|seconds|percent|ratio|c|v|mv|mhz|hpa|celsius)$/, '').replaceAll('_', ' ');
}

/** A word of the interface for people: `active_unack` is `active unack`. */
export function plain(word: string): string {
  return word.replaceAll('_', ' ');
}

/** What a node is called: its name, or its id. */
export function nodeName(node: { id: number; name?: string | null }): string {
  return node.name ? node.name : String(node.id);
}

/** Whether it is one or more: `1 node`, `3 nodes`. */
export function count(amount: number, one: string, more = `${one}s`): string {
  return `${number(amount, 0)} ${amount === 1 ? one : more}`;
}

/** How grave a severity is. */
export function gravity(severity: string): Tone {
  return severity === 'critical' ? 'bad' : severity === 'warning' ? 'warn' : 'quiet';
}
