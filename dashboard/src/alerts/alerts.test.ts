import { fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Alert } from '../lib/types';
import AlertRow from './AlertRow.svelte';
import { chosen, grouped, stateWords, suppressionWords, type Tab, tally, verbsOf } from './list';
import { bodyOf, emptyQuiet, matching, quietOf, windowWords } from './quiet';
import QuietDialog from './QuietDialog.svelte';
import RuleDialog from './RuleDialog.svelte';
import { canRehearse, formOf, ruleBody, ruleWords, scheduleWords } from './rules';
import type { AlertRule, Matcher } from './types';

function alert(fingerprint: string, more: Partial<Alert> = {}): Alert {
  return {
    fingerprint, rule: 'low_heap', severity: 'critical', subject: 'node 7', node: 7, state: 'active_unack', active: true,
    since: '2026-01-01T00:00:00Z', raised_at: '2026-01-01T00:00:00Z', times: 1, evidence: 'free_heap_bytes 9000 B', comments: [], ...more,
  } as Alert;
}

function rule(more: Partial<AlertRule> = {}): AlertRule {
  return {
    name: 'low_heap', signal: 'free_heap_bytes', side: 'below', raise: 10_000, clear: 12_000, hold_seconds: 120, recover_seconds: 60,
    fresh_seconds: 600, severity: 'critical', labels: {}, runbook: '', enabled: true, ...more,
  } as AlertRule;
}

const name = (id: number) => (id === 7 ? 'attic' : String(id));
const everything = { tab: 'all' as Tab, severity: null, rule: null, node: null, text: '' };

describe('the list', () => {
  const all = [
    alert('a', { severity: 'info', since: '2026-01-03T00:00:00Z' }),
    alert('b', { state: 'active_ack' }),
    alert('c', { since: '2026-01-02T00:00:00Z' }),
    alert('d', { state: 'cleared_unack', active: false, rule: 'node_offline', severity: 'warning', node: 9, subject: 'node 9' }),
    alert('e', { state: 'pending', active: false, rule: 'mesh_parted', node: null, subject: 'the mesh' }),
  ];

  const rows: [Partial<typeof everything>, string][] = [
    [{}, 'cbeda'],
    [{ tab: 'active' }, 'ca'],
    [{ tab: 'acknowledged' }, 'b'],
    [{ tab: 'cleared' }, 'd'],
    [{ severity: 'info' } as never, 'a'],
    [{ rule: 'node_offline' } as never, 'd'],
    [{ node: 9 } as never, 'd'],
    [{ text: 'Attic heap' }, 'cba'],
    [{ text: 'node offline' }, 'd'],
    [{ text: 'the mesh' }, 'e'],
    [{ text: 'nowhere' }, ''],
  ];
  it.each(rows)('%j is %s', (more, expected) => {
    expect(chosen(all, { ...everything, ...more }, name).map((each) => each.fingerprint).join('')).toBe(expected);
  });

  it('is grouped, the gravest group first', () => {
    const sorted = chosen(all, everything, name);
    const groups = (by: Parameters<typeof grouped>[1]) => grouped(sorted, by, name).map((group) => [group.key, group.alerts.length]);
    expect(groups('rule')).toEqual([['low heap', 3], ['mesh parted', 1], ['node offline', 1]]);
    expect(groups('severity')).toEqual([['critical', 3], ['warning', 1], ['info', 1]]);
    expect(groups('node')).toEqual([['attic', 3], ['the mesh', 1], ['9', 1]]);
    expect(groups('none')).toEqual([['', 5]]);
  });

  it('counts what its tabs show', () => {
    expect(tally(all)).toEqual({ active: 2, acknowledged: 1, cleared: 1, all: 5 });
  });
});

describe('the life of an alert', () => {
  // As the engine takes them: acknowledged and cleared ones can be known of, only active ones be cleared.
  const rows: [string, string[]][] = [
    ['pending', ['assign', 'comment']],
    ['active_unack', ['ack', 'clear', 'assign', 'comment']],
    ['active_ack', ['unack', 'clear', 'assign', 'comment']],
    ['cleared_unack', ['ack', 'assign', 'comment']],
    ['cleared_ack', ['unack', 'assign', 'comment']],
  ];
  it.each(rows)('%s', (state, verbs) => {
    expect(verbsOf(alert('a', { state }))).toEqual(verbs);
    expect(stateWords(alert('a', { state }))).not.toContain('_');
  });

  it('says why nobody is told', () => {
    expect(suppressionWords(alert('a'))).toBeNull();
    expect(suppressionWords(alert('a', { suppressed_by: 'cause' }))).toMatch(/cause/);
    expect(suppressionWords(alert('a', { suppressed_by: 'new' }))).toBe('new');
  });
});

describe('quiet', () => {
  const rules = new Map([['low_heap', rule({ labels: { team: 'attic' } })]]);
  const all = [alert('a'), alert('b', { node: 9 }), alert('c', { rule: 'mesh_parted', node: null })];
  const rows: [Matcher[], number[], string][] = [
    [[{ field: 'rule', value: 'low_heap', equal: true }], [], 'ab'],
    [[{ field: 'rule', value: 'low_*', equal: true }], [7], 'a'],
    [[{ field: 'rule', value: 'low_heap', equal: false }], [], 'c'],
    [[{ field: 'severity', value: '*', equal: true }], [], 'abc'],
    [[{ field: 'team', value: 'attic', equal: true }], [], 'ab'],
    [[{ field: 'team', value: 'attic', equal: false }], [], 'c'],
    [[{ field: 'node', value: '9', equal: true }], [], 'b'],
    [[], [9], 'b'],
    [[], [], ''],
    [[{ field: 'rule', value: '', equal: true }], [], ''],
  ];
  it.each(rows)('%j of %j holds for %s', (matchers, nodes, expected) => {
    expect(matching({ matchers, nodes }, all, rules).map((each) => each.fingerprint).join('')).toBe(expected);
  });

  it('of one alert holds for its rule at its node alone', () => {
    expect(matching(quietOf(all[0] as Alert), all, rules)).toEqual([all[0]]);
    expect(quietOf(all[2] as Alert).nodes).toEqual([]);
  });

  it('asks for what is written', () => {
    const quiet = { ...emptyQuiet('silence'), matchers: [{ field: 'rule', value: '', equal: true }], nodes: [3], why: ' new roof ' };
    expect(bodyOf(quiet)).toEqual({ matchers: [], nodes: [3], lasts_seconds: 3_600, why: 'new roof' });
    expect(bodyOf({ ...quiet, from: '2026-01-01T10:00' }).from).toBe(new Date('2026-01-01T10:00').toISOString());
  });

  it('is said in words', () => {
    expect(windowWords({ matchers: [{ field: 'rule', value: 'low_*', equal: false }], nodes: [7, 2, 3, 4] }, name)).toBe('rule is not low_*, of attic, 2, 3 and 1 more');
    expect(windowWords({ matchers: [], nodes: [] }, name)).toBe('everything');
  });
});

describe('rules in words', () => {
  const rows: [Partial<AlertRule>, string][] = [
    [{}, 'free heap below 10000 B for 2 min; good again at 12000'],
    [{ signal: 'rssi_dbm', raise: -85, clear: -80, hold_seconds: 0 }, 'rssi below −85 dBm; good again at −80'],
    [{ signal: null, state: 'reboot_loop', raise: null, clear: null, hold_seconds: 60 }, 'while the state “reboot loop” holds for 1 min'],
  ];
  it.each(rows)('%j: %s', (more, words) => {
    expect(ruleWords(rule(more))).toBe(words);
  });

  it('with their hours', () => {
    const schedule = { days: ['mon', 'tue'], from_minute: 1_320, to_minute: 360, ahead_minutes: -90 };
    expect(scheduleWords(rule({ schedule }))).toBe('Mon, Tue, 22:00 to 06:00 UTC−01:30');
    expect(scheduleWords(rule())).toBeNull();
  });

  it('go through the form unchanged, with what it does not show', () => {
    const schedule = { days: ['mon'], from_minute: 0, to_minute: 60, ahead_minutes: 0 };
    for (const one of [rule({ labels: { team: 'attic' }, schedule, state: null }), rule({ signal: null, side: null, raise: null, clear: null, state: 'offline' })]) {
      expect(ruleBody(formOf(one), one)).toEqual(one);
    }
  });

  it('are asked for as they are written', () => {
    const form = { ...formOf(null), name: ' cold ', looks_at: 'chip_temperature_c', raise: '−5', clear: 'warm', hold_seconds: '' };
    expect(ruleBody(form, null)).toMatchObject({ name: 'cold', signal: 'chip_temperature_c', state: null, raise: -5, clear: 'warm', hold_seconds: 0 });
  });

  it('can be tried only on levels', () => {
    expect(canRehearse(rule())).toBe(true);
    expect(canRehearse(rule({ signal: 'restarts_per_hour' }))).toBe(false);
    expect(canRehearse(rule({ signal: null, state: 'offline' }))).toBe(false);
  });
});

describe('on the page', () => {
  afterEach(() => vi.unstubAllGlobals());

  const row = (one: Alert, operator: boolean, onact = vi.fn()) => {
    render(AlertRow, { alert: one, rule: rule({ runbook: 'look' }), chosen: false, operator, busy: false, onchoose: () => {}, onact, onsilence: () => {} });
    return onact;
  };

  it('markup in texts is text', async () => {
    const evil = '<img src=x onerror=alert(1)>';
    row(alert('a', { node: null, subject: evil, evidence: evil, assigned_to: evil, comments: [{ by: evil, at: '2026-01-01T00:00:00Z', text: evil }] }), true);
    await fireEvent.click(screen.getByTestId('more'));
    expect(document.querySelector('img')).toBeNull();
    expect(document.body.textContent?.split(evil).length).toBe(6);
  });

  it('a viewer may look', async () => {
    row(alert('a'), false);
    await fireEvent.click(screen.getByTestId('more'));
    for (const id of ['ack', 'clear', 'comment', 'assign', 'silence-this']) expect(screen.queryByTestId(id)).toBeNull();
  });

  it('an operator acts', async () => {
    const onact = row(alert('a', { assigned_to: 'ann' }), true);
    await fireEvent.click(screen.getByTestId('ack'));
    await fireEvent.click(screen.getByTestId('more'));
    await fireEvent.click(screen.getByTestId('assign'));
    await fireEvent.input(screen.getByLabelText('Comment'), { target: { value: ' seen ' } });
    await fireEvent.click(screen.getByTestId('comment'));
    expect(onact.mock.calls).toEqual([['ack'], ['assign', ''], ['comment', 'seen']]);
  });

  it('a silence is opened as it is written, and a refusal is told', async () => {
    const calls: unknown[] = [];
    let status = 422;
    vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
      calls.push([url, JSON.parse(String(init.body))]);
      const body = status === 422 ? { title: 'no', status, errors: [{ pointer: '/until', detail: 'that is over' }] } : { id: 1 };
      return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/problem+json' } });
    });
    const opened = vi.fn();
    render(QuietDialog, { open: true, begin: quietOf(alert('a')), rules: new Map(), onopened: opened });
    await fireEvent.click(screen.getByTestId('quiet-save'));
    await vi.waitFor(() => expect(screen.getByRole('alert', { hidden: true }).textContent).toContain('that is over'));
    expect(opened).not.toHaveBeenCalled();
    status = 201;
    await fireEvent.click(screen.getByTestId('quiet-save'));
    await vi.waitFor(() => expect(opened).toHaveBeenCalled());
    expect(calls[1]).toEqual(['/api/v1/silences', { matchers: [{ field: 'rule', value: 'low_heap', equal: true }], nodes: [7], lasts_seconds: 3_600, why: '' }]);
  });

  it('a rule that is being written is tried without being kept', async () => {
    const calls: [string, unknown][] = [];
    vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
      calls.push([`${init.method} ${url}`, JSON.parse(String(init.body))]);
      const tried = { rule: 'low_heap', span_seconds: 21_600, count: 1, text: 'it would have raised 1 alert', firings: [{ from: '2026-01-01T00:00:00Z', node: 7 }] };
      return new Response(JSON.stringify(tried), { status: 200, headers: { 'content-type': 'application/json' } });
    });
    const onchange = vi.fn();
    render(RuleDialog, { open: true, rule: rule(), rules: [], onchange });
    await fireEvent.input(document.querySelector('[name=raise]')!, { target: { value: '9000' } });
    await fireEvent.click(screen.getByTestId('rule-try'));
    await vi.waitFor(() => expect(screen.getByTestId('rule-tried').textContent).toContain('it would have raised 1 alert'));
    expect(calls).toMatchObject([['POST /api/v1/alert-rule-tests?window=6h', { name: 'low_heap', raise: 9_000 }]]);
    expect(onchange).not.toHaveBeenCalled();
    await fireEvent.input(document.querySelector('[name=looks_at]')!, { target: { value: 'restarts_per_hour' } });
    expect(screen.queryByTestId('rule-try'), 'there is no history of rates').toBeNull();
  });
});
