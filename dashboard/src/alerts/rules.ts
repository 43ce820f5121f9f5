// Rules in words. Pure.

import { duration, metricName } from '../lib/format';
import type { AlertRule } from './types';

const DAYS: Record<string, string> = { mon: 'Mon', tue: 'Tue', wed: 'Wed', thu: 'Thu', fri: 'Fri', sat: 'Sat', sun: 'Sun' };

/** When a rule raises its alert, and when it clears it. */
export function ruleWords(rule: AlertRule): string {
  const hold = rule.hold_seconds > 0 ? ` for ${duration(rule.hold_seconds)}` : '';
  if (rule.state) return `while the state “${rule.state.replaceAll('_', ' ')}” holds${hold}`;
  const side = rule.side === 'above' ? 'above' : 'below';
  const back = rule.clear === null || rule.clear === undefined ? '' : `; good again at ${number(rule.clear)}`;
  return `${metricName(rule.signal ?? '')} ${side} ${number(rule.raise)} ${unitOf(rule.signal ?? '')}`.trimEnd() + hold + back;
}

function number(value: number | null | undefined): string {
  return value === null || value === undefined ? '?' : String(value).replace('-', '−');
}

/** The unit that a signal ends with, as health.md writes it. */
function unitOf(signal: string): string {
  const units: [RegExp, string][] = [
    [/_bytes$/, 'B'], [/_dbm$/, 'dBm'], [/_ms$/, 'ms'], [/_percent$/, '%'], [/_c$/, '°C'], [/_per_minute$/, '/min'], [/_per_hour$/, '/h'],
    [/_over_usual$/, '× usual'],
  ];
  return units.find(([end]) => end.test(signal))?.[1] ?? '';
}

/** In which hours a rule raises; `null` where it always does. */
export function scheduleWords(rule: AlertRule): string | null {
  const schedule = rule.schedule;
  if (!schedule) return null;
  const clock = (minutes: number) => `${String(Math.floor(minutes / 60) % 24).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
  const days = schedule.days.length === 7 ? 'every day' : schedule.days.map((day) => DAYS[day] ?? day).join(', ');
  const ahead = schedule.ahead_minutes;
  const zone = ahead === 0 ? 'UTC' : `UTC${ahead < 0 ? '−' : '+'}${clock(Math.abs(ahead))}`;
  return `${days}, ${clock(schedule.from_minute)} to ${clock(schedule.to_minute)} ${zone}`;
}

/** Whether the gateway can say what a rule would have done: only of one on a level is there a history. */
export function canRehearse(rule: AlertRule): boolean {
  return Boolean(rule.signal) && !/_(per_minute|per_hour|per_day|over_usual|change|per_year)$/.test(rule.signal ?? '');
}
