// What is known of the mesh, live: ONE stream for all pages, kept as Svelte state.
//
// Reading it asks no node anything and costs the mesh nothing. It comes back by itself after a loss, goes on where it
// was where the gateway can, and begins anew where it cannot. Pages read; `App` starts and stops it.

import { api, words } from './api';
import { clock } from './clock.svelte';
import { addEvents, backOff, nothingKnown, Splitter, take } from './stream';
import type { Alert, MeshEvent, Node, Rollout, Status } from './types';

/** How the connection is. */
export type Connection = 'connecting' | 'open' | 'lost' | 'refused';

/** Without so much as a ping for so long the connection is taken for dead, in ms: the gateway pings each 15 s. */
const SILENCE_MAX_MS = 40_000;
/** Events of before the stream began, the newest: marks of graphs and lists want no more. */
const EVENTS_BEFORE = 500;

class Live {
  nodes = $state.raw<ReadonlyMap<number, Node>>(new Map());
  alerts = $state.raw<ReadonlyMap<string, Alert>>(new Map());
  rollouts = $state.raw<ReadonlyMap<number, Rollout>>(new Map());
  mesh = $state.raw<Status | null>(null);
  /** What has happened, the oldest first. */
  events = $state.raw<readonly MeshEvent[]>([]);
  connection = $state<Connection>('connecting');
  /** Whether there has ever been a snapshot: before, nothing is known, and nothing must be said to be so. */
  known = $state(false);
  /** When the stream last brought anything, a ping included; ms by the gateway's clock. */
  heardAt = $state(0);
  /** When it last brought an event; ms by the gateway's clock. */
  eventAt = $state(0);
  /** Why the last attempt failed. */
  trouble = $state<string | null>(null);

  /** All nodes that are not forgotten, by id. */
  list = $derived([...this.nodes.values()].filter((node) => node.state !== 'forgotten').sort((a, b) => a.id - b.id));
  /** Alerts that are raised, the gravest and newest first. */
  active = $derived(
    [...this.alerts.values()].filter((alert) => alert.active).sort((a, b) => weight(b) - weight(a) || (a.since < b.since ? 1 : -1)),
  );
  /** Whether what is shown may be old: the connection is not there. */
  stale = $derived(this.known && this.connection !== 'open');
  /** The ids of the nodes below each node; the gateway's own are under its id. */
  children = $derived.by(() => {
    const below = new Map<number, number[]>();
    for (const node of this.nodes.values()) {
      if (node.parent === null || node.parent === undefined) continue;
      const list = below.get(node.parent);
      if (list) list.push(node.id);
      else below.set(node.parent, [node.id]);
    }
    return below;
  });

  #facts = nothingKnown();
  #stop: AbortController | null = null;
  #dirty = new Set<string>();
  #frame = false;
  #eventsLoaded = false;

  /** Opens the stream, and opens it again until `stop`. */
  start(): void {
    if (this.#stop) return;
    const stop = new AbortController();
    this.#stop = stop;
    void this.#run(stop.signal);
  }

  /** Closes it. With `forget` nothing of it stays: somebody has logged out. */
  stop(forget = false): void {
    this.#stop?.abort();
    this.#stop = null;
    this.connection = 'connecting';
    if (!forget) return;
    this.#facts = nothingKnown();
    this.#eventsLoaded = false;
    this.known = false;
    for (const part of ['nodes', 'alerts', 'rollouts', 'mesh', 'events']) this.#dirty.add(part);
    this.#publish();
  }

  /** The name of a node by its id, or the id. */
  name(id: number): string {
    if (id === this.mesh?.gateway) return 'gateway';
    return this.nodes.get(id)?.name || String(id);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let attempt = 0;
    let retry: number | null = null;
    while (!signal.aborted) {
      try {
        await this.#listen(signal, (told) => {
          retry = told.retry ?? retry;
          attempt = 0;
        });
        this.trouble = 'the gateway closed the stream';
      } catch (error) {
        if (signal.aborted) return;
        this.trouble = words(error);
        if (error instanceof Refused && error.status === 401) {
          // Asking who we are says so to whoever must know.
          await api.get('/api/v1/session').catch(() => {});
        }
      }
      if (signal.aborted) return;
      if (this.connection !== 'refused') this.connection = 'lost';
      await sleep(backOff(attempt, retry, Math.random()), signal);
      attempt += 1;
    }
  }

  async #listen(signal: AbortSignal, told: (piece: { retry: number | null }) => void): Promise<void> {
    const attempt = new AbortController();
    const give_up = () => attempt.abort();
    signal.addEventListener('abort', give_up);
    let watchdog = setTimeout(give_up, SILENCE_MAX_MS);
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (this.#facts.last && this.#facts.whole) headers['last-event-id'] = this.#facts.last;
      const response = await fetch('/api/v1/events/stream', {
        headers,
        signal: attempt.signal,
        cache: 'no-store',
        credentials: 'same-origin',
      });
      clock.learn(response.headers.get('date'));
      if (!response.ok || !response.body) {
        this.connection = 'refused';
        throw new Refused(response.status);
      }
      this.connection = 'open';
      this.trouble = null;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const splitter = new Splitter();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(give_up, SILENCE_MAX_MS);
        this.heardAt = clock.read();
        const piece = splitter.push(value);
        told(piece);
        for (const message of piece.messages) this.#take(message);
      }
    } catch (error) {
      if (attempt.signal.aborted && !signal.aborted) throw new Error('nothing came for a while');
      throw error;
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', give_up);
      // Whatever ended it, the socket goes with it.
      attempt.abort();
    }
  }

  #take(message: Parameters<typeof take>[1]): void {
    for (const part of take(this.#facts, message)) this.#dirty.add(part);
    this.eventAt = clock.read();
    if (message.event === 'reset') this.#eventsLoaded = false;
    if (message.event === 'snapshot') {
      void this.#loadEvents();
    }
    this.#later();
  }

  /** Events of before the stream began: it tells only what is new. */
  async #loadEvents(): Promise<void> {
    if (this.#eventsLoaded) return;
    this.#eventsLoaded = true;
    try {
      const found = await api.get('/api/v1/events', { query: { last: EVENTS_BEFORE } });
      if (addEvents(this.#facts, found.items)) this.#dirty.add('events');
      this.#later();
    } catch {
      this.#eventsLoaded = false;
    }
  }

  /** Many messages come at once; they are shown at once. */
  #later(): void {
    if (this.#frame) return;
    this.#frame = true;
    const publish = () => {
      this.#frame = false;
      this.#publish();
    };
    if (document.hidden) setTimeout(publish, 250);
    else requestAnimationFrame(publish);
  }

  #publish(): void {
    const facts = this.#facts;
    if (this.#dirty.has('nodes')) this.nodes = new Map(facts.nodes);
    if (this.#dirty.has('alerts')) this.alerts = new Map(facts.alerts);
    if (this.#dirty.has('rollouts')) this.rollouts = new Map(facts.rollouts);
    if (this.#dirty.has('mesh')) this.mesh = facts.mesh;
    if (this.#dirty.has('events')) this.events = facts.events;
    // With what it brought, and not before: a page would take the wait for a mesh that has nothing.
    if (facts.whole) this.known = true;
    this.#dirty.clear();
  }
}

class Refused extends Error {
  constructor(readonly status: number) {
    super(status === 429 ? 'too many streams are open' : `the gateway answered ${status}`);
  }
}

const SEVERITIES = ['info', 'warning', 'critical'];

function weight(alert: Alert): number {
  return SEVERITIES.indexOf(alert.severity);
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      window.removeEventListener('online', done);
      resolve();
    }
    signal.addEventListener('abort', done);
    // The machine has its network again: why wait.
    window.addEventListener('online', done);
  });
}

export const live = new Live();
