// Silences and maintenance windows: what one is to be like, and which alerts it would hold for. Pure.

import type { Alert } from '../lib/types';
import type { AlertRule, Matcher, NewWindow, Window } from './types';

export const LASTS: readonly { seconds: number; words: string }[] = [
  { seconds: 1_800, words: '30 minutes' },
  { seconds: 3_600, words: '1 hour' },
  { seconds: 14_400, words: '4 hours' },
  { seconds: 43_200, words: '12 hours' },
  { seconds: 86_400, words: '1 day' },
  { seconds: 604_800, words: '1 week' },
  { seconds: 2_592_000, words: '30 days' },
];

/** As a form has it. */
export interface Quiet {
  purpose: 'silence' | 'maintenance';
  matchers: Matcher[];
  nodes: number[];
  lasts_seconds: number;
  /** A local time as `<input type=datetime-local>` writes it; empty is now. */
  from: string;
  why: string;
}

/** Just this alert: its rule, and its node if it is about one. */
export function quietOf(alert: Alert): Quiet {
  return {
    purpose: 'silence',
    matchers: [{ field: 'rule', value: alert.rule, equal: true }],
    nodes: alert.node ? [alert.node] : [],
    lasts_seconds: 3_600,
    from: '',
    why: '',
  };
}

export function emptyQuiet(purpose: Quiet['purpose']): Quiet {
  return { purpose, matchers: [], nodes: [], lasts_seconds: 3_600, from: '', why: '' };
}

/** The body of a request. Conditions without a field or value are none. */
export function bodyOf(quiet: Quiet): NewWindow {
  const body: NewWindow = {
    matchers: quiet.matchers.filter((matcher) => matcher.field && matcher.value),
    nodes: quiet.nodes,
    lasts_seconds: quiet.lasts_seconds,
    why: quiet.why.trim(),
  };
  if (quiet.from) body.from = new Date(quiet.from).toISOString();
  return body;
}

function holds(matcher: Matcher, alert: Alert, rules: ReadonlyMap<string, AlertRule>): boolean {
  const told = (() => {
    if (matcher.field === 'rule') return alert.rule;
    if (matcher.field === 'severity') return alert.severity;
    if (matcher.field === 'node') return alert.node ? String(alert.node) : undefined;
    return rules.get(alert.rule)?.labels[matcher.field];
  })();
  const { value } = matcher;
  const same = told !== undefined && (value.endsWith('*') ? told.startsWith(value.slice(0, -1)) : told === value);
  return same === (matcher.equal ?? true);
}

/** Alerts for which a window would hold: as the gateway decides it (`alert::Matcher`), links between nodes left out. */
export function matching(quiet: Pick<Quiet, 'matchers' | 'nodes'>, alerts: Iterable<Alert>, rules: ReadonlyMap<string, AlertRule>): Alert[] {
  const matchers = quiet.matchers.filter((matcher) => matcher.field && matcher.value);
  if (matchers.length === 0 && quiet.nodes.length === 0) return [];
  const mine = (alert: Alert) => quiet.nodes.length === 0 || (alert.node !== null && alert.node !== undefined && quiet.nodes.includes(alert.node));
  return [...alerts].filter((alert) => mine(alert) && matchers.every((matcher) => holds(matcher, alert, rules)));
}

/** A window in words. */
export function windowWords(window: Pick<Window, 'matchers' | 'nodes'>, name: (id: number) => string): string {
  const conditions = window.matchers.map((matcher) => `${matcher.field} ${matcher.equal === false ? 'is not' : 'is'} ${matcher.value}`);
  const [first, second, third] = window.nodes;
  const more = window.nodes.length > 3 ? ` and ${window.nodes.length - 3} more` : '';
  const nodes = [first, second, third].filter((id) => id !== undefined).map(name).join(', ');
  if (nodes) conditions.push(`of ${nodes}${more}`);
  return conditions.length > 0 ? conditions.join(', ') : 'everything';
}
