// Which events are wanted, told by the query of the address, and events as tables. Pure.

import { CSV, csv } from './csv';
import type { MeshEvent } from './types';

export const KINDS = ['topology', 'liveness', 'incident', 'finding', 'anomaly', 'alert', 'command', 'log', 'period'] as const;

export interface EventFilter {
  kinds: string[];
  node: number | null;
  q: string;
}

export function readEventFilter(query: URLSearchParams): EventFilter {
  const node = Number(query.get('node') ?? Number.NaN);
  return {
    kinds: (query.get('kind') ?? '').split(',').filter((kind) => (KINDS as readonly string[]).includes(kind)),
    node: Number.isInteger(node) && node > 0 && node <= 0xffff_ffff ? node : null,
    q: query.get('q') ?? '',
  };
}

/** Whether an event is wanted; `name` is what its node is called. */
export function wantsEvent(event: MeshEvent, filter: EventFilter, name: (id: number) => string): boolean {
  if (filter.kinds.length > 0 && !filter.kinds.includes(event.kind)) return false;
  if (filter.node !== null && event.node !== filter.node) return false;
  const text = filter.q.trim().toLowerCase();
  if (!text) return true;
  const words = [event.text, event.name, event.kind, event.node ? `${event.node} ${name(event.node)}` : ''];
  return words.some((word) => word.toLowerCase().includes(text));
}

/** Events as a file that spreadsheets read. */
export function eventsFile(events: readonly MeshEvent[], name: (id: number) => string): Blob {
  const rows = events.map((event) => [event.at, event.kind, event.name, event.node, event.node ? name(event.node) : null, event.text]);
  return new Blob([csv(['at', 'kind', 'name', 'node', 'node_name', 'text'], rows)], { type: CSV });
}
