import { describe, expect, it } from 'vitest';
import { event } from '../test/things';
import { BAR_S, BARS, churn } from './churn';
import { marksIn, near, stepped } from './graph';

describe('marks of a chart', () => {
  const marks = [30, 10, 20, 99].map((at) => ({ at, text: String(at), bad: false }));

  it('are those of its span, in their order, the newest where there are too many', () => {
    expect(marksIn(marks, 10, 30).map((mark) => mark.at)).toEqual([10, 20, 30]);
    expect(marksIn(marks, 0, 100, 2).map((mark) => mark.at)).toEqual([30, 99]);
  });

  it('are told of where the pointer is near', () => {
    const placed = marks.map((mark) => ({ ...mark, x: mark.at }));
    expect(near(placed, 24).map((mark) => mark.at)).toEqual([20]);
    expect(near(placed, 25).map((mark) => mark.at)).toEqual([30, 20]);
    expect(near(placed, 50)).toEqual([]);
  });

  it.each([['ArrowRight', 1], ['ArrowLeft', 0], ['End', 3], ['Home', 0], ['x', null]])('are gone along by %s', (key, to) => {
    expect(stepped(key, 0, 4)).toBe(to);
  });
});

describe('churn', () => {
  const now = Date.parse('2026-03-01T12:00:00Z');
  const at = (seconds: number) => new Date(now - seconds * 1_000).toISOString();

  it('counts changes of the tree alone, in the bar of their time', () => {
    const events = [event(1, { at: at(4 * BAR_S + 10) }), event(2, { at: at(20), kind: 'liveness' }), event(3, { at: at(20) }), event(4, { at: at(10) })];
    const bars = churn(events, now);
    expect(bars).toHaveLength(BARS);
    expect(bars.slice(-6)).toEqual([null, 1, 0, 0, 0, 2]);
    expect(bars.filter((bar) => bar !== null)).toHaveLength(5);
  });

  it('knows nothing of before the first event, nor without any', () => {
    expect(churn([], now).every((bar) => bar === null)).toBe(true);
    expect(churn([event(1, { at: at(BARS * BAR_S + 500) })], now).every((bar) => bar === 0)).toBe(true);
  });
});
