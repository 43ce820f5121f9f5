// Spans of time as people write them in a form, and as the interface takes them. Pure; nothing is lost on the way.

const UNITS: [number, string][] = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
const SIZES: Record<string, number> = { s: 1, min: 60, m: 60, h: 3_600, d: 86_400 };

/** `30 min` for 1800: the largest unit that leaves no rest. */
export function span(seconds: number): string {
  const [size, unit] = UNITS.find(([size]) => seconds % size === 0 && seconds >= size) ?? [1, 's'];
  return `${seconds / size} ${unit}`;
}

/** Seconds out of `30 min`, `1.5 h` or `90`; a text that is none goes as it is, so that the gateway names it. */
export function seconds(text: string): number | string {
  const [, amount, unit = 's'] = /^(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?$/.exec(text.trim()) ?? [];
  return amount === undefined ? text.trim() : Number(amount) * (SIZES[unit] ?? 1);
}
