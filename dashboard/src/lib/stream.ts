// The stream of what happens and changes, without a socket: cuts bytes into events, and events into what is known.
//
// It refuses what is no JSON, and what comes before the first snapshot; both are counted. `live` drives it.

import type { Alert, MeshEvent, Node, Rollout, Snapshot, Status } from './types';

/** Events that are kept, the newest. */
export const EVENTS_MAX = 1_000;
/** Longest event that is taken, in characters: a snapshot of 2 500 nodes has about 8 million. */
export const EVENT_MAX = 64 * 1_024 * 1_024;

/** An event of the stream. */
export interface Message {
  id: string | null;
  event: string;
  data: string;
}

/** What a piece of the stream had in it. */
export interface Piece {
  messages: Message[];
  /** The last `retry:`, in ms. */
  retry: number | null;
}

/** Cuts a `text/event-stream` into events, wherever it was cut on its way. */
export class Splitter {
  #rest = '';
  #lines: string[] = [];
  #size = 0;

  /** Takes the next piece. Throws when an event is longer than `EVENT_MAX`. */
  push(text: string): Piece {
    const piece: Piece = { messages: [], retry: null };
    // A CR at the end may be half of a CR LF: it waits for what follows.
    const all = this.#rest + text;
    const whole = all.endsWith('\r') ? all.slice(0, -1) : all;
    const lines = whole.split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? '') + all.slice(whole.length);
    for (const line of lines) {
      this.#size += line.length;
      if (line === '') this.#end(piece);
      else if (!line.startsWith(':')) this.#lines.push(line);
    }
    if (this.#size + this.#rest.length > EVENT_MAX) throw new Error('an event of the stream is too long');
    return piece;
  }

  #end(piece: Piece): void {
    const message: Message = { id: null, event: 'message', data: '' };
    const data: string[] = [];
    for (const line of this.#lines) {
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'data') data.push(value);
      else if (field === 'event') message.event = value;
      else if (field === 'id') message.id = value;
      else if (field === 'retry' && /^\d+$/.test(value)) piece.retry = Number(value);
    }
    this.#lines = [];
    this.#size = 0;
    if (data.length > 0) piece.messages.push({ ...message, data: data.join('\n') });
  }
}

/** What is known of the mesh. */
export interface Known {
  /** Whether a snapshot has come. */
  whole: boolean;
  /** The `id` of the last event, for `Last-Event-ID`. */
  last: string | null;
  nodes: Map<number, Node>;
  alerts: Map<string, Alert>;
  rollouts: Map<number, Rollout>;
  mesh: Status | null;
  /** The oldest first, at most `EVENTS_MAX`. */
  events: MeshEvent[];
  /** What was not understood. */
  dropped: number;
}

/** Which parts a message changed. */
export type Changed = Set<'nodes' | 'alerts' | 'rollouts' | 'mesh' | 'events'>;

export function nothingKnown(): Known {
  return {
    whole: false,
    last: null,
    nodes: new Map(),
    alerts: new Map(),
    rollouts: new Map(),
    mesh: null,
    events: [],
    dropped: 0,
  };
}

/** Takes one message into what is known, in place. Says what it changed. */
export function take(known: Known, message: Message): Changed {
  const changed: Changed = new Set();
  let data: unknown;
  try {
    data = JSON.parse(message.data);
  } catch {
    known.dropped += 1;
    return changed;
  }
  if (typeof data !== 'object' || data === null) {
    known.dropped += 1;
    return changed;
  }
  if (message.event === 'snapshot') begin(known, data as Snapshot, changed);
  else if (message.event === 'reset') reset(known, changed);
  else if (known.whole) patch(known, message.event, data, changed);
  else known.dropped += 1;
  if (message.id) known.last = message.id;
  return changed;
}

/** Adds events that were fetched or told, without doubles, in their order. */
export function addEvents(known: Known, events: MeshEvent[]): boolean {
  const before = known.events.at(-1)?.id ?? 0;
  // The usual case: one more, at the end.
  if (events.every((event) => event.id > before)) known.events = [...known.events, ...events];
  else {
    const all = new Map([...known.events, ...events].map((event) => [event.id, event]));
    known.events = [...all.values()].sort((a, b) => a.id - b.id);
  }
  known.events = known.events.slice(-EVENTS_MAX);
  return events.length > 0;
}

function begin(known: Known, snapshot: Snapshot, changed: Changed): void {
  known.nodes = new Map((snapshot.nodes ?? []).map((node) => [node.id, node]));
  known.alerts = new Map((snapshot.alerts ?? []).map((alert) => [alert.fingerprint, alert]));
  known.rollouts = new Map((snapshot.rollouts ?? []).map((rollout) => [rollout.id, rollout]));
  known.mesh = snapshot.mesh ?? null;
  known.whole = true;
  for (const part of ['nodes', 'alerts', 'rollouts', 'mesh'] as const) changed.add(part);
}

/** The gateway is another than it was, or we were away for too long: what was known stays until the snapshot comes. */
function reset(known: Known, changed: Changed): void {
  known.whole = false;
  // Events count from 1 since the gateway's start: those of another start would be taken for doubles.
  known.events = [];
  changed.add('events');
}

function patch(known: Known, event: string, data: object, changed: Changed): void {
  switch (event) {
    case 'events.event':
      if (addEvents(known, [data as MeshEvent])) changed.add('events');
      return;
    case 'nodes.changed':
      known.nodes.set((data as Node).id, data as Node);
      return void changed.add('nodes');
    case 'nodes.removed':
      known.nodes.delete((data as { id: number }).id);
      return void changed.add('nodes');
    case 'alerts.changed':
      known.alerts.set((data as Alert).fingerprint, data as Alert);
      return void changed.add('alerts');
    case 'alerts.removed':
      // A fingerprint of digits alone comes as a number.
      known.alerts.delete(String((data as { fingerprint: string | number }).fingerprint));
      return void changed.add('alerts');
    case 'rollouts.changed':
      known.rollouts.set((data as Rollout).id, data as Rollout);
      return void changed.add('rollouts');
    case 'rollouts.removed':
      known.rollouts.delete((data as { id: number }).id);
      return void changed.add('rollouts');
    case 'mesh.changed':
      known.mesh = data as Status;
      return void changed.add('mesh');
    default:
      known.dropped += 1;
  }
}

/** How long to wait before the attempt of this number, in ms: 1 s doubled up to 30 s, and a part of it by `luck`. */
export function backOff(attempt: number, retry: number | null, luck: number): number {
  const least = Math.min(retry ?? 1_000, 5_000);
  const wait = Math.min(30_000, least * 2 ** Math.min(attempt, 10));
  return wait / 2 + (wait / 2) * luck;
}
