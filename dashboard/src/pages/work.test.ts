// The pages on which something is done: firmware and alerts, as they ask the gateway and as roles see them.

import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { tick } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { live } from '../lib/live.svelte';
import { router } from '../lib/router.svelte';
import { who } from '../lib/session.svelte';
import type { Alert, Role, Rollout, Session, Status } from '../lib/types';
import Alerts from './Alerts.svelte';
import Firmware from './Firmware.svelte';

const IMAGE = { sha256: 'ab'.repeat(32), md5: 'cd'.repeat(16), name: 'new.bin', size: 500_000, manifest: { hardware: 'ESP32', role: 'lamp', version: '2.0', sequence: 2 } };

/** What was asked, as `METHOD path body`, and what is answered. */
let asked: string[] = [];
let answers: Record<string, [number, object]> = {};

beforeEach(() => {
  asked = [];
  answers = { 'GET /api/v1/firmware': [200, { items: [IMAGE] }] };
  vi.stubGlobal('fetch', async (url: string, init: RequestInit = {}) => {
    const line = `${init.method ?? 'GET'} ${url.split('?')[0]}`;
    if (init.method !== 'GET') asked.push(`${line} ${init.body ?? ''}`.trim());
    const [status, body] = answers[line] ?? [200, { items: [] }];
    return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
  });
  live.known = true;
  live.nodes = new Map();
  live.rollouts = new Map();
  live.alerts = new Map();
  live.mesh = { gateway: 1, learning: false } as Status;
  as('operator');
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function as(role: Role): void {
  who.session = { name: 'anna', role, means: 'session' } as Session;
}

function at(path: string): void {
  router.go(path, true);
}

const settled = () => new Promise((done) => setTimeout(done, 30));

function rollout(more: Partial<Rollout> = {}): Rollout {
  const nodes = [
    { id: 5, state: 'ready', done: 9, parts: 9 }, { id: 6, state: 'ready', done: 9, parts: 9 },
    { id: 7, state: 'failed', done: 0, parts: 9, reason: 'has <b>no</b> room' },
  ];
  return {
    id: 3, state: 'running', phase: 'held', hold: true, firmware: IMAGE, nodes, role: 'lamp', hardware: 'ESP32', scheme: 'auto',
    started_at: '2026-01-01T00:00:00Z', transfers: {}, eta_seconds: 90, ...more,
  } as unknown as Rollout;
}

function alert(fingerprint: string, more: Partial<Alert> = {}): Alert {
  return {
    fingerprint, rule: 'node_offline', severity: 'warning', subject: `node ${fingerprint}`, state: 'active_unack', active: true,
    since: '2026-01-01T00:00:00Z', times: 1, evidence: 'it left', comments: [], ...more,
  } as Alert;
}

describe('firmware', () => {
  it('follows a roll-out, with reasons as text', async () => {
    at('/firmware');
    live.rollouts = new Map([[3, rollout()]]);
    render(Firmware);
    expect(screen.getByTestId('rollout-phase').textContent).toBe('held');
    expect(screen.getByTestId('rollout-eta').textContent).toBe('1 min 30 s');
    expect(document.querySelector('[data-node="7"]')?.textContent).toContain('has <b>no</b> room');
    live.rollouts = new Map([[3, rollout({ state: 'finished', phase: 'finished', finished_at: '2026-01-01T00:01:00Z' })]]);
    await tick();
    expect(screen.queryByTestId('rollout-abort')).toBeNull();
    expect(screen.getByText(/Try 1 failed node again/)).toBeTruthy();
  });

  it('activates those who are chosen, all when nobody is, and only after a question with their number', async () => {
    at('/firmware');
    live.rollouts = new Map([[3, rollout()]]);
    answers['POST /api/v1/rollouts/3/activate'] = [200, rollout({ phase: 'activating' })];
    render(Firmware);
    expect(screen.getByTestId('rollout-activate').textContent).toBe('Activate 2');
    await fireEvent.click(screen.getByLabelText('Activate 6'));
    await fireEvent.click(screen.getByTestId('rollout-activate'));
    expect(screen.getByTestId('rollout-confirm').textContent).toBe('Activate 1 node');
    expect(asked).toEqual([]);
    await fireEvent.click(screen.getByTestId('rollout-confirm'));
    await settled();
    expect(asked).toEqual(['POST /api/v1/rollouts/3/activate {"nodes":[6]}']);
    // What was answered is shown at once, without waiting for the stream.
    expect(screen.getByTestId('rollout-phase').textContent).toBe('activating');
  });

  it('knows roll-outs of before the gateway started', async () => {
    answers['GET /api/v1/rollouts'] = [200, { items: [rollout({ id: 2, state: 'finished' })] }];
    at('/firmware?rollout=2');
    live.rollouts = new Map([[3, rollout()]]);
    render(Firmware);
    await settled();
    expect(screen.getByText('Roll-out 2')).toBeTruthy();
    expect(screen.getByTestId('rollout-list').querySelectorAll('li')).toHaveLength(2);
  });

  it('shows two at once, and for which the second waits', async () => {
    at('/firmware?rollout=4');
    live.rollouts = new Map([[3, rollout({ phase: 'delivering' })], [4, rollout({ id: 4, phase: 'queued', waits_for: 3, role: 'door' })]]);
    render(Firmware);
    await settled();
    expect(screen.getByTestId('rollout-phase').textContent).toBe('queued');
    const waits = screen.getByTestId('rollout-waits');
    expect(waits.textContent).toContain('roll-out 3');
    expect(waits.querySelector('a')?.getAttribute('href')).toBe('/firmware?rollout=3');
    expect(screen.getByTestId('rollout-list').querySelectorAll('li')).toHaveLength(2);
  });

  it('lets a viewer look', async () => {
    as('viewer');
    at('/firmware');
    live.rollouts = new Map([[3, rollout()]]);
    render(Firmware);
    await settled();
    expect(screen.getByTestId('images').textContent).toContain('2.0');
    for (const id of ['deploy-open', 'upload', 'rollout-abort', 'rollout-pause', 'deploy-image']) expect(screen.queryByTestId(id)).toBeNull();
  });

  it('begins with the nodes that another page has chosen', async () => {
    at('/firmware?nodes=5,6');
    render(Firmware);
    await settled();
    expect((screen.getByLabelText('Ids of nodes') as HTMLTextAreaElement).value).toBe('5 6');
    expect(router.search).toBe('');
  });

  it('says that images cannot be had', async () => {
    answers['GET /api/v1/firmware'] = [503, { title: 'gone', status: 503 }];
    at('/firmware');
    render(Firmware);
    await settled();
    expect(screen.getByTestId('panel-images').textContent).toContain('gone');
  });
});

describe('alerts', () => {
  it('acts on many, and lists whom it could not', async () => {
    at('/alerts?tab=all');
    live.alerts = new Map([alert('a'), alert('b'), alert('c', { state: 'pending', active: false })].map((each) => [each.fingerprint, each]));
    answers['POST /api/v1/alerts/b/ack'] = [409, { title: 'Conflict', status: 409, detail: 'somebody was faster' }];
    render(Alerts);
    await fireEvent.click(screen.getByLabelText(/all 3 that are shown/));
    await fireEvent.click(screen.getByTestId('bulk-ack'));
    await settled();
    expect(asked).toEqual(['POST /api/v1/alerts/a/ack', 'POST /api/v1/alerts/b/ack']);
    const exceptions = [...screen.getByTestId('exceptions').querySelectorAll('li')].map((each) => each.textContent);
    expect(exceptions).toEqual(['node offline of node b: somebody was faster', 'node offline of node c: is pending']);
  });

  it('keeps tab, filter and groups in the address', async () => {
    at('/alerts');
    live.alerts = new Map([alert('a'), alert('b', { state: 'active_ack', severity: 'critical' })].map((each) => [each.fingerprint, each]));
    render(Alerts);
    expect(screen.getAllByTestId('alert')).toHaveLength(1);
    await fireEvent.keyDown(screen.getByTestId('tab-active'), { key: 'ArrowRight' });
    expect(router.search).toBe('?tab=acknowledged');
    expect(screen.getByTestId('alert').dataset.state).toBe('active_ack');
    await fireEvent.change(screen.getByTestId('alerts-severity'), { target: { value: 'warning' } });
    expect(router.search).toBe('?tab=acknowledged&severity=warning');
    expect(screen.getByTestId('empty').textContent).toBe('None of them is so.');
  });

  it('switches a rule, and shows what the gateway says of it', async () => {
    const rule = { name: 'drift', state: 'drift', hold_seconds: 300, recover_seconds: 300, fresh_seconds: 600, severity: 'info', labels: { a: 'b' }, runbook: '', enabled: true };
    answers['GET /api/v1/alert-rules'] = [200, { items: [rule] }];
    at('/alerts');
    render(Alerts);
    await settled();
    answers['GET /api/v1/alert-rules'] = [200, { items: [{ ...rule, enabled: false }] }];
    await fireEvent.click(screen.getByTestId('rule-switch'));
    await settled();
    expect(asked).toEqual([`PUT /api/v1/alert-rules/drift ${JSON.stringify({ ...rule, enabled: false })}`]);
    expect((screen.getByTestId('rule-switch') as HTMLInputElement).checked).toBe(false);
    expect(screen.getByTestId('rules').textContent).toContain('switched off');
  });

  it('ends a silence', async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const open = { id: 4, purpose: 'silence', matchers: [], nodes: [5], from: '2026-01-01T00:00:00Z', until, active: true, by: 'bob', why: '<i>roof</i>' };
    answers['GET /api/v1/silences'] = [200, { items: [open] }];
    answers['DELETE /api/v1/silences/4'] = [200, {}];
    at('/alerts');
    render(Alerts);
    await settled();
    expect(screen.getByTestId('windows').textContent).toContain('<i>roof</i>');
    await fireEvent.click(screen.getByTestId('expire'));
    expect(asked).toEqual(['DELETE /api/v1/silences/4']);
  });

  it('lets a viewer look', () => {
    as('viewer');
    at('/alerts');
    live.alerts = new Map([['a', alert('a')]]);
    render(Alerts);
    for (const id of ['ack', 'silence-this', 'new-silence', 'rule-new']) expect(screen.queryByTestId(id)).toBeNull();
    expect(document.querySelector('input[type=checkbox]')).toBeNull();
  });
});
