import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { event, node, status } from '../test/things';
import { live } from './live.svelte';

/** A gateway whose streams the test writes. */
class Gateway {
  streams: { headers: Record<string, string>; say: (text: string) => void; end: () => void }[] = [];
  refuse: number | null = null;

  fetch = async (url: string, init: RequestInit): Promise<Response> => {
    if (!url.includes('/stream')) {
      return new Response(JSON.stringify({ items: [event(1)], next: 1, lost: 0 }), { headers: { 'content-type': 'application/json' } });
    }
    const headers = init.headers as Record<string, string>;
    if (this.refuse) return new Response('', { status: this.refuse });
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const say = (text: string) => controller.enqueue(new TextEncoder().encode(text));
        init.signal?.addEventListener('abort', () => controller.error(new DOMException('aborted', 'AbortError')));
        this.streams.push({ headers, say, end: () => controller.close() });
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };

  say(kind: string, data: unknown, id: string): void {
    this.streams.at(-1)?.say(`id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}

const snapshot = (nodes: number[]) => ({ revision: 1, nodes: nodes.map((id) => node(id)), alerts: [], rollouts: [], mesh: status() });
let gateway: Gateway;

beforeEach(() => {
  gateway = new Gateway();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'requestAnimationFrame'] });
  vi.stubGlobal('fetch', gateway.fetch);
  live.start();
});

afterEach(() => {
  live.stop(true);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const settled = async () => {
  for (let turn = 0; turn < 20; turn += 1) await vi.advanceTimersByTimeAsync(20);
};

it('shows what a snapshot and patches say, and the events of before', async () => {
  await settled();
  expect(live.known).toBe(false);
  gateway.say('snapshot', snapshot([5, 6]), 'e-1');
  await settled();
  expect(live.known).toBe(true);
  expect(live.connection).toBe('open');
  expect(live.list.map((one) => one.id)).toEqual([5, 6]);
  expect(live.events.map((one) => one.id)).toEqual([1]);
  gateway.say('nodes.changed', node(6, { state: 'offline', parent: 5 }), 'e-2');
  await settled();
  expect(live.nodes.get(6)?.state).toBe('offline');
  expect(live.children.get(5)).toEqual([6]);
});

it('is known together with what it knows, never before', async () => {
  await settled();
  gateway.say('snapshot', snapshot([5]), 'e-1');
  for (let turn = 0; !live.known && turn < 200; turn += 1) await vi.advanceTimersByTimeAsync(1);
  expect(live.known).toBe(true);
  expect(live.list.map((one) => one.id)).toEqual([5]);
});

it('goes on where it was after a loss, and keeps showing what it knew', async () => {
  await settled();
  gateway.say('snapshot', snapshot([5]), 'e-1');
  gateway.say('nodes.changed', node(5, { name: 'pump' }), 'e-4');
  await settled();
  gateway.streams[0]?.end();
  await settled();
  expect(live.connection).toBe('lost');
  expect(live.stale).toBe(true);
  expect(live.nodes.get(5)?.name).toBe('pump');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(gateway.streams).toHaveLength(2);
  expect(gateway.streams[1]?.headers['last-event-id']).toBe('e-4');
  expect(live.stale).toBe(false);
});

it('begins anew where the gateway is another', async () => {
  await settled();
  gateway.say('snapshot', snapshot([5]), 'e-1');
  await settled();
  gateway.streams[0]?.end();
  await vi.advanceTimersByTimeAsync(5_000);
  gateway.say('reset', {}, 'f-1');
  gateway.say('snapshot', snapshot([8]), 'f-1');
  await settled();
  expect(live.list.map((one) => one.id)).toEqual([8]);
});

it('takes silence for a loss', async () => {
  await settled();
  gateway.say('snapshot', snapshot([5]), 'e-1');
  await settled();
  await vi.advanceTimersByTimeAsync(39_000);
  expect(gateway.streams).toHaveLength(1);
  gateway.streams[0]?.say(': ping\n\n');
  await vi.advanceTimersByTimeAsync(39_000);
  expect(gateway.streams, 'a ping shows that it lives').toHaveLength(1);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(gateway.streams).toHaveLength(2);
});

it('says when it is refused, and forgets all at a log-out', async () => {
  await settled();
  gateway.say('snapshot', snapshot([5]), 'e-1');
  await settled();
  gateway.refuse = 429;
  gateway.streams[0]?.end();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(live.connection).toBe('refused');
  expect(live.trouble).toContain('too many streams');
  live.stop(true);
  expect(live.known).toBe(false);
  expect(live.list).toEqual([]);
});
