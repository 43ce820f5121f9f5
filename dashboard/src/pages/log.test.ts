// Events and the audit: filtered by the address, followed back on demand, given away as files.

import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { tick } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { eventsFile, readEventFilter, wantsEvent } from '../lib/events';
import { live } from '../lib/live.svelte';
import { router } from '../lib/router.svelte';
import { save } from '../lib/save';
import { who } from '../lib/session.svelte';
import type { Role, Session, Status } from '../lib/types';
import { event, node } from '../test/things';
import Audit from './Audit.svelte';
import Events from './Events.svelte';

vi.mock('../lib/save', () => ({ save: vi.fn() }));

const EVIL = '<img src=x onerror=alert(1)>';
let asked: URL[] = [];
let answer: (url: URL) => [number, object] = () => [200, { items: [] }];

beforeEach(() => {
  asked = [];
  vi.mocked(save).mockClear();
  vi.stubGlobal('fetch', async (path: string) => {
    const url = new URL(path, 'http://127.0.0.1');
    asked.push(url);
    const [status, body] = answer(url);
    return new Response(JSON.stringify(body), { status, headers: { 'content-type': status < 300 ? 'application/json' : 'application/problem+json' } });
  });
  live.known = true;
  live.nodes = new Map([[5, node(5, { name: 'pump' })], [6, node(6)]]);
  live.mesh = { gateway: 1, learning: false } as Status;
  live.events = [
    event(1, { at: '2026-03-01T12:00:00Z' }),
    event(2, { kind: 'alert', name: 'active_unack', node: 6, text: EVIL, at: '2026-03-01T12:01:00Z' }),
    event(3, { kind: 'liveness', name: 'offline', node: 5, text: 'is lost', at: '2026-03-01T12:02:00Z' }),
  ];
  as('admin');
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function as(role: Role): void {
  who.session = { name: 'anna', role, means: 'session' } as Session;
}

const settled = () => new Promise((done) => setTimeout(done, 30));
const shown = () => [...screen.getByTestId('events').querySelectorAll('li')].map((line) => line.textContent ?? '');

describe('events', () => {
  it('are found by kind, node and words, and the address keeps what is asked', async () => {
    router.go('/events', true);
    render(Events);
    expect(shown().map((line) => line.includes('is lost'))).toEqual([true, false, false]);
    expect(shown()[1]).toContain(EVIL);
    expect(document.querySelector('img')).toBeNull();
    await fireEvent.click(screen.getByTestId('kind-alert'));
    expect(router.search).toBe('?kind=alert');
    expect(shown()).toHaveLength(1);
    await fireEvent.click(screen.getByTestId('kind-alert'));
    await fireEvent.input(screen.getByTestId('event-search'), { target: { value: 'pump' } });
    expect(router.search).toBe('?q=pump');
    expect(screen.getByTestId('event-count').textContent).toBe('2 events');
    expect(asked, 'opening a page asks nobody').toEqual([]);
  });

  it('stand still while somebody reads, and say how many came', async () => {
    router.go('/events', true);
    render(Events);
    await fireEvent.click(screen.getByTestId('event-pause'));
    live.events = [...live.events, event(4, { text: 'is new' })];
    await tick();
    expect(shown()).toHaveLength(3);
    expect(screen.getByTestId('event-pause').textContent).toBe('Go on (1 new)');
    await fireEvent.click(screen.getByTestId('event-pause'));
    expect(shown()[0]).toContain('is new');
  });

  it('are followed back to what is kept, page by page, to the end', async () => {
    router.go('/events?kind=topology', true);
    answer = (url) => [200, url.searchParams.has('before') ? { items: [event(100, { text: 'the first of all' })], next: null } : { items: [event(101, { text: 'long ago' })], next: 101 }];
    render(Events);
    await fireEvent.click(screen.getByTestId('event-earlier'));
    await settled();
    expect(shown().at(-1)).toContain('long ago');
    await fireEvent.click(screen.getByTestId('event-earlier'));
    await settled();
    expect(shown().at(-1)).toContain('the first of all');
    expect(screen.queryByTestId('event-earlier')).toBeNull();
    expect(asked.map((url) => url.search)).toEqual([
      '?to=2026-03-01T12%3A00%3A00Z&kind=topology&limit=200', '?before=101&to=2026-03-01T12%3A00%3A00Z&kind=topology&limit=200',
    ]);
  });

  it('say that nothing of before is kept', async () => {
    router.go('/events', true);
    answer = () => [404, { title: 'Not Found', status: 404, detail: 'no database keeps events' }];
    render(Events);
    await fireEvent.click(screen.getByTestId('event-earlier'));
    await settled();
    expect(screen.getByRole('alert').textContent).toBe('no database keeps events');
    expect(screen.queryByTestId('event-earlier')).toBeNull();
  });

  it('are a file in which no text is a formula', async () => {
    router.go('/events', true);
    render(Events);
    await fireEvent.click(screen.getByTestId('event-csv'));
    expect(vi.mocked(save).mock.calls[0]?.[0]).toMatch(/^events-.*\.csv$/);
    const text = await eventsFile([event(1, { text: '=1+1' })], () => 'pump').text();
    expect(text).toContain("topology,join,5,pump,'=1+1");
  });

  it('are wanted as the query says, and what it does not know is left out', () => {
    const filter = readEventFilter(new URLSearchParams('kind=alert,magic&node=x&q=LOST'));
    expect(filter).toEqual({ kinds: ['alert'], node: null, q: 'LOST' });
    const name = () => 'pump';
    expect(wantsEvent(event(1, { kind: 'alert', text: 'is lost' }), filter, name)).toBe(true);
    expect(wantsEvent(event(1, { text: 'is lost' }), filter, name)).toBe(false);
    expect(wantsEvent(event(1), { kinds: [], node: 6, q: '' }, name)).toBe(false);
  });
});

describe('the audit', () => {
  const line = (seq: number, more: object = {}) => ({ seq, at: '2026-03-01T12:00:00Z', actor: 'anna', action: 'rollout.start', subject: '7', detail: {}, hash: 'ab', ...more });

  it('is read back line by line, found in, and kept', async () => {
    router.go('/audit', true);
    answer = (url) => [200, url.searchParams.has('before') ? { items: [line(1, { actor: 'bob', detail: { why: EVIL } })], next: null } : { items: [line(2)], next: 2 }];
    render(Audit);
    await settled();
    await fireEvent.click(screen.getByTestId('audit-earlier'));
    await settled();
    expect(screen.getByTestId('audit').querySelectorAll('tbody tr')).toHaveLength(2);
    expect(screen.getByTestId('audit').textContent).toContain(EVIL);
    expect(document.querySelector('img')).toBeNull();
    expect(screen.queryByTestId('audit-earlier')).toBeNull();
    await fireEvent.input(screen.getByTestId('audit-search'), { target: { value: 'bob' } });
    expect(screen.getByTestId('audit').querySelectorAll('tbody tr')).toHaveLength(1);
    await fireEvent.click(screen.getByTestId('audit-csv'));
    const [name, content] = vi.mocked(save).mock.calls[0]!;
    expect(name).toBe('audit.csv');
    expect((await content.text()).split('\r\n')[1]).toMatch(/^1,2026-03-01T12:00:00Z,bob,rollout\.start,7,/);
  });

  it('says why it cannot be read, and is nobody else’s', async () => {
    router.go('/audit', true);
    answer = () => [503, { title: 'Unavailable', status: 503, detail: 'the store is away' }];
    const { unmount } = render(Audit);
    await settled();
    expect(screen.getByRole('alert').textContent).toBe('the store is away');
    unmount();
    asked = [];
    as('operator');
    render(Audit);
    await settled();
    expect(screen.getByTestId('empty').textContent).toContain('Only admins');
    expect(asked).toEqual([]);
  });
});
