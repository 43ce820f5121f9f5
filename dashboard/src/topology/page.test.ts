// The page of the tree with everything but pixels: jsdom has no canvas to paint on.

import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { tick } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { live } from '../lib/live.svelte';
import { router } from '../lib/router.svelte';
import { who } from '../lib/session.svelte';
import type { Node, Session, Status } from '../lib/types';
import Topology from '../pages/Topology.svelte';

const EVIL = '<img src=x onerror=alert(1)>';

function node(id: number, parent: number | null, name: string | null = null): Node {
  const score = { points: 100, level: 'ok', trend: 'steady', deductions: [] };
  return {
    id, name, parent, state: parent === null ? 'offline' : 'online', since: '2026-01-01T00:00:00Z', family: 'stock', joins: 1,
    hops: null, root: false, time_authority: false, tags: [], score, metrics: [], facts: [],
  } as unknown as Node;
}

function show(nodes: Node[]): void {
  live.nodes = new Map(nodes.map((each) => [each.id, each]));
}

function as(role: Session['role']): void {
  who.session = { name: 'x', role, means: 'session' } as Session;
}

/** Names in the table, as a screen reader comes to them. */
function rows(): (string | undefined)[] {
  return [...document.querySelectorAll('[data-testid=topology-table] tbody th')].map((each) => each.textContent?.trim());
}

let history: { status: number; body: object };

beforeEach(() => {
  router.go('/topology', true);
  history = { status: 404, body: { title: 'Not Found', status: 404 } };
  vi.stubGlobal('fetch', async (url: string) => {
    const [status, body] = url.includes('/topology/history')
      ? [history.status, history.body]
      : [200, { items: url.includes('/meshes') ? [{ id: 'demo' }] : [] }];
    return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
  });
  live.mesh = { gateway: 1, learning: false } as Status;
  live.known = true;
  as('operator');
  show([node(2, 1, 'hall'), node(3, 2, EVIL), node(4, 1), node(9, null, 'lost')]);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

describe('the page', () => {
  it('has the whole tree in a table, names as text, and who is not in it', () => {
    render(Topology);
    expect(rows()).toEqual(['gateway', 'hall', EVIL, '4', 'lost']);
    expect(document.querySelector('img')).toBeNull();
    expect(screen.getByTestId('topology-count').textContent).toBe('3 nodes in the tree, 2 hops deep, 1 not in it');
  });

  it('follows the mesh', async () => {
    render(Topology);
    show([node(2, 1, 'hall'), node(3, 4, 'moved'), node(4, 1)]);
    await tick();
    expect(rows()).toEqual(['gateway', 'hall', '4', 'moved']);
  });

  it('is walked by keys, which are told, and kept in the address', async () => {
    render(Topology);
    const canvas = screen.getByTestId('topology-canvas');
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowRight']) await fireEvent.keyDown(canvas, { key });
    expect(router.query.get('node')).toBe('3');
    expect(screen.getByTestId('topology-spoken').textContent).toBe(`${EVIL}, online, 2 hops, 0 nodes below it, online`);
    await fireEvent.keyDown(canvas, { key: 'ArrowLeft' });
    expect(screen.getByTestId('peek-name').textContent).toBe('hall');
    await fireEvent.keyDown(canvas, { key: ' ' });
    expect(screen.getByTestId('peek-fold').textContent).toBe('Unfold');
    await fireEvent.keyDown(canvas, { key: 'Enter' });
    expect(router.path).toBe('/nodes/2');
  });

  it('offers what costs or changes something only to who may do it', async () => {
    router.go('/topology?node=2', true);
    render(Topology);
    expect(screen.getByTestId('peek-restart')).toBeTruthy();
    as('viewer');
    await tick();
    for (const id of ['peek-restart', 'peek-ask', 'peek-silence']) expect(screen.queryByTestId(id)).toBeNull();
    expect(screen.getByTestId('peek-details')).toBeTruthy();
  });

  it('names who else is cut off before it restarts a node', async () => {
    router.go('/topology?node=2', true);
    render(Topology);
    await fireEvent.click(screen.getByTestId('peek-restart'));
    expect(document.querySelector('dialog')?.textContent).toContain('1 node below it loses its way');
  });

  it('shows the tree of then, with what is different now', async () => {
    history = { status: 200, body: { gateway: 1, revision: 3, links: [{ from: 1, to: 2 }, { from: 1, to: 3 }, { from: 3, to: 8 }], uncertain: [] } };
    router.go('/topology?at=2026-01-01T00:00:00Z', true);
    render(Topology);
    await vi.waitFor(() => expect(rows()).toEqual(['gateway', 'hall', EVIL, '8']));
    const now = [...document.querySelectorAll('[data-testid=topology-table] tbody tr')].map((row) => row.children[3]?.textContent);
    expect(now).toEqual(['same place now', 'same place now', 'elsewhere now', 'not in the tree now']);
    await fireEvent.click(screen.getByTestId('topology-live'));
    await vi.waitFor(() => expect(rows()).toHaveLength(5));
  });

  it('says that a time is not kept, and shows now', async () => {
    router.go('/topology?at=2020-01-01T00:00:00Z', true);
    render(Topology);
    await vi.waitFor(() => expect(screen.getByRole('alert').textContent).toContain('is not kept'));
    expect(rows()).toHaveLength(5);
  });

  it('says when nothing is known, and when nobody is there', async () => {
    live.known = false;
    const { unmount } = render(Topology);
    expect(document.querySelector('[aria-busy=true]')?.textContent).toBe('Loading…');
    unmount();
    live.known = true;
    live.mesh = { gateway: 1, learning: true } as Status;
    show([]);
    render(Topology);
    expect(screen.getByTestId('empty').textContent).toContain('still learning');
  });
});
