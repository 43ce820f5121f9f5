import { describe, expect, it } from 'vitest';
import { alert, event, node, rollout, status } from '../test/things';
import { addEvents, backOff, EVENT_MAX, EVENTS_MAX, nothingKnown, Splitter, take, type Known, type Message } from './stream';

function say(event: string, data: unknown, id = 'e-1'): Message {
  return { event, data: JSON.stringify(data), id };
}

function snapshot(id = 'e-7'): Message {
  return say('snapshot', { revision: 7, nodes: [node(5), node(6)], alerts: [alert('a')], rollouts: [rollout(1)], mesh: status() }, id);
}

function after(...messages: Message[]): Known {
  const known = nothingKnown();
  for (const message of messages) take(known, message);
  return known;
}

describe('the splitter', () => {
  const text = 'retry: 3000\nid: e-7\nevent: snapshot\ndata: {"a":\ndata: 1}\n\n: ping\n\nid: e-8\nevent:mesh.changed\ndata:{}\r\n\r\ndata: last\n\n';
  const expected = [
    { id: 'e-7', event: 'snapshot', data: '{"a":\n1}' },
    { id: 'e-8', event: 'mesh.changed', data: '{}' },
    { id: null, event: 'message', data: 'last' },
  ];

  it('finds the same events wherever the stream is cut', () => {
    for (let size = 1; size <= text.length; size += 1) {
      const splitter = new Splitter();
      const messages: Message[] = [];
      let retry: number | null = null;
      for (let at = 0; at < text.length; at += size) {
        const piece = splitter.push(text.slice(at, at + size));
        messages.push(...piece.messages);
        retry = piece.retry ?? retry;
      }
      expect(messages, `pieces of ${size}`).toEqual(expected);
      expect(retry).toBe(3_000);
    }
  });

  it('tells nothing of a comment, and nothing of half an event', () => {
    const splitter = new Splitter();
    expect(splitter.push(': ping\n\n').messages).toEqual([]);
    expect(splitter.push('event: mesh.changed\ndata: {}\n').messages).toEqual([]);
    expect(splitter.push('\n').messages).toHaveLength(1);
  });

  it('refuses an event without an end', () => {
    const splitter = new Splitter();
    const much = 'x'.repeat(EVENT_MAX / 2 + 1);
    splitter.push(`data: ${much}`);
    expect(() => splitter.push(much)).toThrow('too long');
  });
});

describe('what is known', () => {
  it('begins with a snapshot', () => {
    const known = after(snapshot());
    expect([...known.nodes.keys()]).toEqual([5, 6]);
    expect([...known.alerts.keys()]).toEqual(['a']);
    expect([...known.rollouts.keys()]).toEqual([1]);
    expect(known.mesh?.gateway).toBe(1);
    expect(known).toMatchObject({ whole: true, last: 'e-7', dropped: 0 });
  });

  it('takes patches, each for its own part', () => {
    const rows: [Message, string, (known: Known) => unknown, unknown][] = [
      [say('nodes.changed', node(6, { state: 'offline' })), 'nodes', (known) => known.nodes.get(6)?.state, 'offline'],
      [say('nodes.changed', node(9)), 'nodes', (known) => known.nodes.size, 3],
      [say('nodes.removed', { id: 6 }), 'nodes', (known) => [...known.nodes.keys()], [5]],
      [say('alerts.changed', alert('b')), 'alerts', (known) => known.alerts.size, 2],
      [say('alerts.removed', { fingerprint: 'a' }), 'alerts', (known) => known.alerts.size, 0],
      [say('rollouts.changed', rollout(1, { state: 'paused' })), 'rollouts', (known) => known.rollouts.get(1)?.state, 'paused'],
      [say('rollouts.removed', { id: 1 }), 'rollouts', (known) => known.rollouts.size, 0],
      [say('mesh.changed', status({ learning: true })), 'mesh', (known) => known.mesh?.learning, true],
      [say('events.event', event(3)), 'events', (known) => known.events.map((one) => one.id), [3]],
    ];
    for (const [message, part, look, expected] of rows) {
      const known = after(snapshot());
      expect([...take(known, message)], message.event).toEqual([part]);
      expect(look(known), message.event).toEqual(expected);
    }
  });

  it('removes an alert whose fingerprint comes as a number', () => {
    const known = after(snapshot(), say('alerts.changed', alert('123')));
    take(known, say('alerts.removed', { fingerprint: 123 }));
    expect(known.alerts.has('123')).toBe(false);
  });

  it('takes no patch before the first snapshot', () => {
    const known = after(say('nodes.changed', node(5)));
    expect(known.nodes.size).toBe(0);
    expect(known.dropped).toBe(1);
  });

  it('begins again after a reset, and forgets the events of the other start', () => {
    const known = after(snapshot(), say('events.event', event(40)), say('reset', {}, 'f-1'));
    // Until the snapshot comes, what was known is still shown; a patch in between belongs to nothing.
    expect(known).toMatchObject({ whole: false, last: 'f-1', events: [] });
    expect(known.nodes.size).toBe(2);
    take(known, say('nodes.changed', node(77), 'f-2'));
    expect(known.nodes.has(77)).toBe(false);
    take(known, say('snapshot', { revision: 1, nodes: [node(8)], alerts: [], rollouts: [], mesh: status() }, 'f-3'));
    expect([...known.nodes.keys()]).toEqual([8]);
    expect(known).toMatchObject({ whole: true, last: 'f-3' });
    take(known, say('events.event', event(1), 'f-4'));
    expect(known.events.map((one) => one.id)).toEqual([1]);
  });

  it('goes on over a gap: what was missed comes as patches, twice does no harm', () => {
    const known = after(snapshot(), say('events.event', event(1)), say('nodes.changed', node(6, { state: 'offline' }), 'e-9'));
    for (const message of [say('events.event', event(1), 'e-8'), say('nodes.changed', node(6, { state: 'online' }), 'e-12')]) take(known, message);
    expect(known.events).toHaveLength(1);
    expect(known.nodes.get(6)?.state).toBe('online');
    expect(known.last).toBe('e-12');
  });

  it('counts what it does not understand', () => {
    for (const data of ['', '{', '7', 'null']) {
      const known = after(snapshot());
      expect(take(known, { event: 'nodes.changed', data, id: 'e-9' }).size, data).toBe(0);
      expect(known.dropped, data).toBe(1);
    }
    expect(after(snapshot(), say('weather.changed', {})).dropped).toBe(1);
  });

  it('keeps events in order, each once, and the newest of too many', () => {
    const known = nothingKnown();
    addEvents(known, [event(5), event(6)]);
    addEvents(known, [event(1), event(2), event(5)]);
    expect(known.events.map((one) => one.id)).toEqual([1, 2, 5, 6]);
    addEvents(known, Array.from({ length: EVENTS_MAX + 10 }, (_, at) => event(at + 10)));
    expect(known.events).toHaveLength(EVENTS_MAX);
    expect(known.events.at(-1)?.id).toBe(EVENTS_MAX + 19);
  });
});

it('waits longer after each failure, up to half a minute', () => {
  const waits = Array.from({ length: 12 }, (_, attempt) => backOff(attempt, null, 1));
  expect(waits[0]).toBe(1_000);
  expect(waits.every((wait, at) => at === 0 || wait >= (waits[at - 1] ?? 0))).toBe(true);
  expect(Math.max(...waits)).toBe(30_000);
  expect(backOff(0, 3_000, 0)).toBe(1_500);
  expect(backOff(0, 600_000, 1), 'a gateway cannot send us away for minutes').toBe(5_000);
});
