import { describe, expect, it } from 'vitest';
import { ageSeconds, ago, bytes, count, duration, measured, metricName, nodeName, NOTHING, percent, plain, ratio, short, time } from './format';

const now = Date.parse('2026-03-01T12:00:00Z');
const before = (seconds: number) => new Date(now - seconds * 1_000).toISOString();

describe('ages', () => {
  it('are told in one unit', () => {
    for (const [seconds, expected] of [
      [0, 'now'],
      [1, 'now'],
      [12, '12 s ago'],
      [59, '59 s ago'],
      [60, '1 min ago'],
      [3_599, '59 min ago'],
      [7_200, '2 h ago'],
      [90_000, '1 d ago'],
    ] as const) {
      expect(ago(before(seconds), now), String(seconds)).toBe(expected);
    }
  });

  it('are never negative, and never made up', () => {
    expect(ago(before(-30), now)).toBe('now');
    expect(ago(null, now)).toBe('never');
    expect(ago('yesterday', now)).toBe('never');
    expect(ageSeconds(undefined, now)).toBeNull();
  });
});

it('tells spans in two units at most', () => {
  for (const [seconds, expected] of [
    [0, '0 s'],
    [0.25, '250 ms'],
    [59.6, '1 min'],
    [200, '3 min 20 s'],
    [3_600, '1 h'],
    [3_601, '1 h'],
    [3_660, '1 h 1 min'],
    [187_200, '2 d 4 h'],
    [-5, '−5 s'],
    [null, NOTHING],
    [Number.NaN, NOTHING],
    [Number.POSITIVE_INFINITY, NOTHING],
  ] as const) {
    expect(duration(seconds), String(seconds)).toBe(expected);
  }
  expect(short(150)).toBe('2 min');
  expect(short(null)).toBe(NOTHING);
});

it('sizes bytes', () => {
  for (const [value, expected] of [
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_024, '1.0 KB'],
    [176_768, '173 KB'],
    [1_048_575, '1.0 MB'],
    [5_368_709_120, '5.0 GB'],
    [-2_048, '−2.0 KB'],
    [null, NOTHING],
  ] as const) {
    expect(bytes(value), String(value)).toBe(expected);
  }
});

it('tells shares with the digits that matter', () => {
  for (const [value, expected] of [
    [0, /^0 %$/],
    [0.424, /^0[.,]42 %$/],
    [7.46, /^7[.,]5 %$/],
    [99.6, /^100 %$/],
    [null, /^–$/],
  ] as const) {
    expect(percent(value), String(value)).toMatch(expected);
  }
  expect(ratio(0.5)).toBe('50 %');
  expect(ratio(null)).toBe(NOTHING);
});

it('tells values in their units', () => {
  for (const [value, unit, expected] of [
    [176_768, 'B', '173 KB'],
    [-61, 'dBm', '-61 dBm'],
    [200, 's', '3 min 20 s'],
    [3, '', '3'],
    [40, '%', '40 %'],
    [120, 'ms', '120 ms'],
    [undefined, 'ms', NOTHING],
  ] as const) {
    expect(measured(value, unit), `${value} ${unit}`).toBe(expected);
  }
});

it('names things for people', () => {
  expect(metricName('free_heap_bytes')).toBe('free heap');
  expect(metricName('messages_rx')).toBe('messages rx');
  expect(metricName('chip_temperature_c')).toBe('chip temperature');
  expect(plain('active_unack')).toBe('active unack');
  expect(nodeName({ id: 7, name: null })).toBe('7');
  expect(nodeName({ id: 7, name: 'pump' })).toBe('pump');
  expect(count(1, 'node')).toBe('1 node');
  expect(count(3, 'node')).toBe('3 nodes');
});

it('writes the date only of other days', () => {
  expect(time(now, now)).not.toMatch(/Mar/);
  expect(time(before(3 * 86_400), now)).toMatch(/2\d/);
  expect(time(null, now)).toBe(NOTHING);
  expect(time('soon', now)).toBe(NOTHING);
});
