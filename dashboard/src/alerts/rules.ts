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

/** A rule as a form has it: numbers are text until they are asked for. */
export interface RuleForm {
  name: string;
  /** Whether it looks at a value, or at a state. */
  of: 'signal' | 'state';
  looks_at: string;
  side: 'above' | 'below';
  raise: string;
  clear: string;
  hold_seconds: string;
  recover_seconds: string;
  severity: string;
  runbook: string;
  enabled: boolean;
}

export function formOf(rule: AlertRule | null): RuleForm {
  const text = (value: number | null | undefined, other = '') => (value === null || value === undefined ? other : String(value));
  return {
    name: rule?.name ?? '',
    of: rule?.state ? 'state' : 'signal',
    looks_at: rule?.state ?? rule?.signal ?? '',
    side: rule?.side === 'above' ? 'above' : 'below',
    raise: text(rule?.raise),
    clear: text(rule?.clear),
    hold_seconds: text(rule?.hold_seconds, '300'),
    recover_seconds: text(rule?.recover_seconds, '60'),
    severity: rule?.severity ?? 'warning',
    runbook: rule?.runbook ?? '',
    enabled: rule?.enabled ?? true,
  };
}

/** The body of a request. What the form does not show (labels, hours, freshness) stays as the rule had it. */
export function ruleBody(form: RuleForm, before: AlertRule | null): AlertRule {
  const number = (text: string) => {
    const trimmed = String(text ?? '').trim().replace('−', '-');
    // What is no number goes as it is: the gateway names it.
    return trimmed === '' ? null : ((Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed) as number);
  };
  const value = form.of === 'signal';
  const body: Partial<AlertRule> = {
    ...before,
    name: form.name.trim(),
    signal: value ? form.looks_at.trim() : null,
    state: value ? null : form.looks_at.trim(),
    side: value ? form.side : null,
    raise: value ? number(form.raise) : null,
    clear: value ? number(form.clear) : null,
    hold_seconds: number(form.hold_seconds) ?? 0,
    recover_seconds: number(form.recover_seconds) ?? 0,
    severity: form.severity,
    runbook: form.runbook.trim(),
    enabled: form.enabled,
  };
  return body as AlertRule;
}
