import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { setCsrf } from '../lib/api';
import { live } from '../lib/live.svelte';
import { router } from '../lib/router.svelte';
import { who } from '../lib/session.svelte';
import type { Role } from '../lib/types';
import { alert, event, node, score, status } from '../test/things';
import Login from './Login.svelte';
import NodeDetail from './NodeDetail.svelte';
import Nodes from './Nodes.svelte';
import Overview from './Overview.svelte';
import Setup from './Setup.svelte';

/** What pages have asked for, as `METHOD path`, and what they are answered. */
let asked: { line: string; body: unknown; headers: Record<string, string> }[] = [];
let answers: Record<string, { status?: number; body: unknown }> = {};

beforeEach(() => {
  asked = [];
  answers = {};
  vi.stubGlobal('fetch', async (url: string, init: RequestInit = {}) => {
    const line = `${init.method ?? 'GET'} ${url.split('?')[0]}`;
    asked.push({ line, body: init.body ? JSON.parse(String(init.body)) : null, headers: init.headers as Record<string, string> });
    const answer = answers[line] ?? { body: { items: [], next: 0, lost: 0, name: null, tags: [], notes: '', series: {}, step_seconds: 0 } };
    return new Response(JSON.stringify(answer.body), { status: answer.status ?? 200, headers: { 'content-type': 'application/json' } });
  });
  // Pages are shown what is known; the stream has tests of its own.
  vi.spyOn(live, 'start').mockImplementation(() => {});
});

afterEach(() => {
  cleanup();
  who.end();
  setCsrf(null);
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  history.replaceState(null, '', '/');
});

function at(path: string): void {
  history.replaceState(null, '', path);
  router.go(path, true);
}

function as(role: Role): void {
  who.begin({ name: 'anna', role, means: 'session', csrf_token: 'secret' });
}

function know(): void {
  live.nodes = new Map([node(5, { name: 'pump' }), node(6, { parent: 5, hops: 2, state: 'offline', score: score(10) }), node(7, { state: 'suspect' })].map((one) => [one.id, one]));
  live.mesh = status({ states: { online: 1, offline: 1, suspect: 1 } });
  live.alerts = new Map([['a', alert('a', { node: 6 })]]);
  live.events = [event(1, { node: 5 })];
  live.known = true;
}

const settled = () => new Promise((done) => setTimeout(done, 30));

describe('the overview', () => {
  it('says that it loads before anything is known, and calls nobody offline', () => {
    as('viewer');
    render(Overview);
    expect(screen.getAllByText('Loading…').length).toBeGreaterThan(3);
    expect(screen.queryByTestId('counter-offline')).toBeNull();
  });

  it('counts, and each number leads to its nodes', () => {
    as('viewer');
    know();
    render(Overview);
    for (const [state, many] of [['online', '1'], ['offline', '1'], ['suspect', '1'], ['sleeping', '0'], ['learning', '0']] as const) {
      const counter = screen.getByTestId(`counter-${state}`);
      expect(counter.getAttribute('href')).toBe(`/nodes?state=${state}`);
      expect(counter.querySelector('b')?.textContent).toBe(many);
    }
    expect(screen.getByRole('meter').getAttribute('aria-valuenow')).toBe('0.5');
    expect(screen.getByTestId('panel-worst').textContent).toContain('6');
    expect(screen.queryByTestId('learning')).toBeNull();
  });

  it('says that the gateway is learning', async () => {
    as('viewer');
    know();
    live.mesh = status({ learning: true });
    render(Overview);
    expect(screen.getByTestId('learning').textContent).toContain('still learning');
  });
});

describe('nodes', () => {
  it('are those of the address, and a filter changes the address', async () => {
    as('operator');
    know();
    at('/nodes?state=offline');
    render(Nodes);
    expect([...document.querySelectorAll('tr.line')].map((row) => row.getAttribute('data-id'))).toEqual(['6']);
    await fireEvent.click(screen.getByTestId('filter-suspect'));
    expect(location.search).toBe('?state=offline%2Csuspect');
    await fireEvent.click(screen.getByTestId('filter-clear'));
    expect(location.search).toBe('');
    await fireEvent.input(screen.getByTestId('search'), { target: { value: 'nobody' } });
    expect(screen.getByTestId('empty').textContent).toContain('No node is like that');
  });

  it('are asked only after it was said what that costs', async () => {
    as('operator');
    know();
    at('/nodes');
    answers['POST /api/v1/queries'] = {
      body: { outcomes: { answered: 1, timed_out: 1 }, nodes: [{ id: 5, name: null, outcome: 'answered', metrics: [] }, { id: 6, name: null, outcome: 'timed_out', metrics: [] }] },
    };
    render(Nodes);
    await fireEvent.click(screen.getByLabelText('Choose pump'));
    await fireEvent.click(screen.getByLabelText('Choose 6'));
    await fireEvent.click(screen.getByTestId('bulk-query'));
    const dialog = document.querySelector('dialog');
    expect(dialog?.textContent).toContain('6 links');
    expect(asked.some((one) => one.line.startsWith('POST'))).toBe(false);
    await fireEvent.submit(document.querySelector('#bulk-form') as HTMLFormElement);
    await settled();
    const post = asked.find((one) => one.line === 'POST /api/v1/queries');
    expect(post?.body).toMatchObject({ nodes: [5, 6], max_age_seconds: 0 });
    expect(post?.headers['x-csrf-token']).toBe('secret');
    // Who did not answer is named.
    expect(screen.getByTestId('exceptions').textContent).toContain('6: timed out');
  });

  it('can be looked at by a viewer, and no more', async () => {
    as('viewer');
    know();
    at('/nodes');
    render(Nodes);
    await fireEvent.click(screen.getByLabelText('Choose pump'));
    expect(screen.getByTestId('bulk').textContent).toContain('1 node chosen');
    expect(screen.queryByTestId('bulk-query')).toBeNull();
    expect(screen.queryByTestId('bulk-forget')).toBeNull();
  });
});

describe('one node', () => {
  it('is shown without asking it anything', async () => {
    as('operator');
    know();
    at('/nodes/6');
    render(NodeDetail);
    await settled();
    expect(screen.getByTestId('node-head').textContent).toContain('offline');
    const lines = [...new Set(asked.map((one) => one.line))].sort();
    // All of these are answered from what the gateway has; names of firmware are fetched once for all pages.
    expect(lines.filter((line) => line !== 'GET /api/v1/firmware')).toEqual(['GET /api/v1/nodes/6/events', 'GET /api/v1/nodes/6/label']);
  });

  it('is asked by a button that says what that costs', async () => {
    as('operator');
    know();
    at('/nodes/6');
    render(NodeDetail);
    expect(screen.getByTestId('refresh').textContent).toContain('4 transmissions');
    await fireEvent.click(screen.getByTestId('refresh'));
    await settled();
    expect(asked.filter((one) => one.line === 'POST /api/v1/queries')).toHaveLength(1);
  });

  it('gives a viewer no button that would be refused', () => {
    as('viewer');
    know();
    at('/nodes/6');
    render(NodeDetail);
    expect(screen.queryByTestId('refresh')).toBeNull();
    expect(screen.queryByTestId('panel-node-commands')).toBeNull();
  });

  it('may be unknown', () => {
    as('viewer');
    know();
    at('/nodes/99');
    render(NodeDetail);
    expect(screen.getByTestId('empty').textContent).toContain('never shown this node');
  });
});

describe('the door', () => {
  async function logIn(): Promise<void> {
    await fireEvent.input(screen.getByLabelText('Name'), { target: { value: 'anna' } });
    await fireEvent.input(screen.getByLabelText('Password'), { target: { value: 'a long password' } });
    await fireEvent.submit(document.querySelector('form') as HTMLFormElement);
    await settled();
  }

  const session = { name: 'anna', role: 'viewer', means: 'session', csrf_token: 'secret' };

  it('leads to where one wanted to be, and never elsewhere', async () => {
    for (const [next, where] of [
      ['/nodes?state=offline', '/nodes?state=offline'],
      ['//evil.example/', '/'],
      ['/\\evil.example', '/'],
      ['https://evil.example/', '/'],
      ['/api/v1/docs', '/'],
    ] as const) {
      answers['POST /api/v1/login'] = { body: session };
      at(`/login?next=${encodeURIComponent(next)}`);
      render(Login);
      await logIn();
      expect(location.pathname + location.search, next).toBe(where);
      expect(location.origin).toBe('http://localhost:3000');
      cleanup();
      who.end();
    }
  });

  it('says that name or password is wrong, and keeps no password', async () => {
    answers['POST /api/v1/login'] = { status: 401, body: { type: 'about:blank', title: 'Unauthorized', status: 401, detail: 'x' } };
    at('/login');
    render(Login);
    await logIn();
    expect(screen.getByRole('alert').textContent).toContain('no such user');
    expect((screen.getByLabelText('Password') as HTMLInputElement).value).toBe('');
  });

  it('takes the link of the first run out of the address, and sends it once', async () => {
    answers['POST /api/v1/setup'] = { body: { ...session, role: 'admin' } };
    at('/setup#abc123');
    render(Setup);
    expect(location.hash).toBe('');
    for (const input of document.querySelectorAll('input')) {
      await fireEvent.input(input, { target: { value: input.type === 'password' ? 'a long password' : 'anna' } });
    }
    await fireEvent.submit(document.querySelector('form') as HTMLFormElement);
    await settled();
    expect(asked).toMatchObject([{ line: 'POST /api/v1/setup', body: { token: 'abc123', name: 'anna', password: 'a long password' } }]);
    expect(who.may('admin')).toBe(true);
  });

  it('refuses two passwords that differ before anything is sent', async () => {
    at('/setup#abc123');
    render(Setup);
    const [name, one, other] = document.querySelectorAll('input');
    await fireEvent.input(name!, { target: { value: 'anna' } });
    await fireEvent.input(one!, { target: { value: 'a long password' } });
    await fireEvent.input(other!, { target: { value: 'another password' } });
    await fireEvent.submit(document.querySelector('form') as HTMLFormElement);
    expect(asked).toEqual([]);
    expect(document.body.textContent).toContain('not the same');
  });
});
