// Which alerts are shown, in which order and groups, and what may be done with each. Pure.
//
// The life of an alert: pending (not bad for long enough), active, cleared; both of the latter known to somebody or not.

import type { Alert } from '../lib/types';

export type Tab = 'active' | 'acknowledged' | 'cleared' | 'all';
export type Grouping = 'none' | 'rule' | 'severity' | 'node';
export type Verb = 'ack' | 'unack' | 'clear' | 'assign' | 'comment';

export const TABS: readonly { tab: Tab; words: string }[] = [
  { tab: 'active', words: 'Active' },
  { tab: 'acknowledged', words: 'Acknowledged' },
  { tab: 'cleared', words: 'Cleared' },
  { tab: 'all', words: 'All' },
];
export const GROUPINGS: readonly { by: Grouping; words: string }[] = [
  { by: 'none', words: 'not grouped' },
  { by: 'rule', words: 'by rule' },
  { by: 'severity', words: 'by severity' },
  { by: 'node', words: 'by node' },
];
export const SEVERITIES = ['critical', 'warning', 'info'] as const;

const STATES: Record<string, string> = {
  pending: 'pending: not bad for long enough',
  active_unack: 'active, nobody knows',
  active_ack: 'active, known',
  cleared_unack: 'cleared, nobody knew',
  cleared_ack: 'cleared',
};

const SUPPRESSIONS: Record<string, string> = {
  silence: 'a silence holds for it',
  maintenance: 'a maintenance window holds for it',
  cause: 'another alert tells its cause',
  flapping: 'it comes and goes all the time',
};

export function stateWords(alert: Alert): string {
  return STATES[alert.state] ?? alert.state.replaceAll('_', ' ');
}

/** Why nobody is told of it; `null` where everybody is. */
export function suppressionWords(alert: Alert): string | null {
  return alert.suppressed_by ? (SUPPRESSIONS[alert.suppressed_by] ?? alert.suppressed_by) : null;
}

export function inTab(alert: Alert, tab: Tab): boolean {
  switch (tab) {
    case 'active':
      return alert.state === 'active_unack';
    case 'acknowledged':
      return alert.state === 'active_ack';
    case 'cleared':
      return alert.state.startsWith('cleared');
    case 'all':
      return true;
  }
}

export interface Wanted {
  tab: Tab;
  severity: string | null;
  rule: string | null;
  node: number | null;
  /** Words that must all be in it. */
  text: string;
}

/** Those that are wanted, the gravest first, of these the newest. Names of nodes are looked for too. */
export function chosen(alerts: Iterable<Alert>, wanted: Wanted, name: (id: number) => string): Alert[] {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const holds = (alert: Alert) => {
    const node = alert.node ? `${alert.node} ${name(alert.node)}` : '';
    const text = [alert.rule, alert.subject, node, alert.evidence, alert.assigned_to ?? ''].join(' ').toLowerCase();
    return words.every((word) => text.includes(word) || text.replaceAll('_', ' ').includes(word));
  };
  const found = [...alerts].filter(
    (alert) =>
      inTab(alert, wanted.tab) &&
      (wanted.severity === null || alert.severity === wanted.severity) &&
      (wanted.rule === null || alert.rule === wanted.rule) &&
      (wanted.node === null || alert.node === wanted.node) &&
      holds(alert),
  );
  return found.sort((a, b) => rank(a) - rank(b) || Date.parse(b.since) - Date.parse(a.since) || (a.fingerprint < b.fingerprint ? -1 : 1));
}

function rank(alert: Alert): number {
  const at = (SEVERITIES as readonly string[]).indexOf(alert.severity);
  return at < 0 ? SEVERITIES.length : at;
}

export interface Group {
  key: string;
  alerts: Alert[];
}

/** Groups in the order of their first alert, so that the gravest is on top. */
export function grouped(alerts: readonly Alert[], by: Grouping, name: (id: number) => string): Group[] {
  const keyOf = (alert: Alert) => {
    if (by === 'rule') return alert.rule.replaceAll('_', ' ');
    if (by === 'severity') return alert.severity;
    if (by === 'node') return alert.node ? name(alert.node) : alert.subject;
    return '';
  };
  const groups = new Map<string, Alert[]>();
  for (const alert of alerts) {
    const key = keyOf(alert);
    const group = groups.get(key);
    if (group) group.push(alert);
    else groups.set(key, [alert]);
  }
  return [...groups].map(([key, own]) => ({ key, alerts: own }));
}

/** What may be done with an alert in its state. */
export function verbsOf(alert: Alert): Verb[] {
  switch (alert.state) {
    case 'active_unack':
      return ['ack', 'clear', 'assign', 'comment'];
    case 'active_ack':
      return ['unack', 'clear', 'assign', 'comment'];
    case 'cleared_unack':
      return ['ack', 'assign', 'comment'];
    case 'cleared_ack':
      return ['unack', 'assign', 'comment'];
    default:
      return ['assign', 'comment'];
  }
}

export function tally(alerts: Iterable<Alert>): Record<Tab, number> {
  const counts: Record<Tab, number> = { active: 0, acknowledged: 0, cleared: 0, all: 0 };
  for (const alert of alerts) for (const { tab } of TABS) if (inTab(alert, tab)) counts[tab] += 1;
  return counts;
}
