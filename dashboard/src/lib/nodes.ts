// Choosing, sorting and counting nodes. Pure; what is chosen is told by the query of the address.

import type { Node, NodeState } from './types';

/** All states but `forgotten`, in the order in which somebody should look. */
export const STATES: NodeState[] = ['offline', 'unreachable', 'suspect', 'learning', 'sleeping', 'online'];

/** The value of a metric, if the node has told it. */
export function metric(node: Node, name: string): number | null {
  return node.metrics.find((one) => one.name === name)?.value ?? null;
}

/** What a node told in words about something. */
export function fact(node: Node, topic: string): string | null {
  return node.facts.find((one) => one.topic === topic)?.text ?? null;
}

/** What a node runs: the version that it tells, or the beginning of its MD5, or the number of its image. */
export function firmwareOf(node: Node): string | null {
  const md5 = fact(node, 'firmware_md5');
  const id = metric(node, 'firmware_id');
  return fact(node, 'version') ?? (md5 ? md5.slice(0, 8) : null) ?? (id === null ? null : id.toString(16).padStart(8, '0'));
}

/** Whether a node's id, name, tags or firmware have a text in them, whatever its case. */
export function says(node: Node, text: string): boolean {
  const wanted = text.trim().toLowerCase();
  const words = [String(node.id), node.name ?? '', ...(node.tags ?? []), firmwareOf(node) ?? '', fact(node, 'firmware_md5') ?? ''];
  return words.some((word) => word.toLowerCase().includes(wanted));
}

/** From here on a signal is called weak, in dBm: below it packets begin to be repeated. */
export const WEAK_DBM = -75;

/** Which nodes are wanted, and in which order. */
export interface Filter {
  q: string;
  states: NodeState[];
  levels: string[];
  fw: string | null;
  family: string | null;
  tag: string | null;
  /** Only those with a weak signal. */
  weak: boolean;
  sort: SortKey;
  descending: boolean;
}

export type SortKey =
  | 'name'
  | 'state'
  | 'score'
  | 'heard'
  | 'fw'
  | 'hops'
  | 'parent'
  | 'rssi'
  | 'heap'
  | 'rtt'
  | 'uptime'
  | 'battery'
  | 'loss'
  | 'id';

const SORTS: SortKey[] = ['name', 'state', 'score', 'heard', 'fw', 'hops', 'parent', 'rssi', 'heap', 'rtt', 'uptime', 'battery', 'loss', 'id'];
export const LEVELS = ['critical', 'warning', 'ok', 'unknown'];

/** Reads the query of an address. What it does not know it leaves out: an old link still shows something. */
export function readFilter(query: URLSearchParams): Filter {
  const some = <T extends string>(name: string, known: readonly T[]): T[] =>
    (query.get(name) ?? '').split(',').filter((word): word is T => (known as readonly string[]).includes(word));
  const sort = query.get('sort') ?? 'name';
  const key = sort.replace(/^-/, '') as SortKey;
  return {
    q: query.get('q') ?? '',
    states: some('state', STATES),
    levels: some('level', LEVELS),
    fw: query.get('fw') || null,
    family: query.get('family') || null,
    tag: query.get('tag') || null,
    weak: query.get('weak') === '1',
    sort: SORTS.includes(key) ? key : 'name',
    descending: sort.startsWith('-') && SORTS.includes(key),
  };
}

/** The same as a query's parts, null where it says nothing. */
export function writeFilter(filter: Partial<Filter>): Record<string, string | null> {
  const parts: Record<string, string | null> = {};
  if (filter.q !== undefined) parts.q = filter.q || null;
  if (filter.states) parts.state = filter.states.join(',') || null;
  if (filter.levels) parts.level = filter.levels.join(',') || null;
  if (filter.fw !== undefined) parts.fw = filter.fw;
  if (filter.family !== undefined) parts.family = filter.family;
  if (filter.tag !== undefined) parts.tag = filter.tag;
  if (filter.weak !== undefined) parts.weak = filter.weak ? '1' : null;
  if (filter.sort !== undefined) {
    const sort = `${filter.descending ? '-' : ''}${filter.sort}`;
    parts.sort = sort === 'name' ? null : sort;
  }
  return parts;
}

/** Whether a node is wanted. */
export function wanted(node: Node, filter: Filter): boolean {
  return (
    (filter.states.length === 0 || filter.states.includes(node.state)) &&
    (filter.levels.length === 0 || filter.levels.includes(node.score.level)) &&
    (filter.fw === null || firmwareOf(node) === filter.fw) &&
    (filter.family === null || node.family === filter.family) &&
    (filter.tag === null || (node.tags ?? []).includes(filter.tag)) &&
    (!filter.weak || (metric(node, 'rssi_dbm') ?? 0) < WEAK_DBM) &&
    (filter.q.trim() === '' || says(node, filter.q))
  );
}

type Comparable = number | string | null;

function value(node: Node, sort: SortKey): Comparable {
  switch (sort) {
    case 'name':
      return node.name?.toLowerCase() ?? null;
    case 'state':
      return STATES.indexOf(node.state);
    case 'score':
      return node.score.points ?? null;
    case 'heard':
      return node.last_heard_at ?? null;
    case 'fw':
      return firmwareOf(node);
    case 'hops':
      return node.hops ?? null;
    case 'parent':
      return node.parent ?? null;
    case 'rssi':
      return metric(node, 'rssi_dbm');
    case 'heap':
      return metric(node, 'free_heap_bytes');
    case 'rtt':
      return metric(node, 'round_trip_ms');
    case 'uptime':
      return metric(node, 'uptime_s');
    case 'battery':
      return metric(node, 'battery_percent');
    case 'loss':
      return metric(node, 'loss_percent');
    case 'id':
      return node.id;
  }
}

/** Sorts a copy. Who has no value comes last in both directions; equals stand by id, so that no row jumps. */
export function sorted(nodes: readonly Node[], sort: SortKey, descending: boolean): Node[] {
  const sign = descending ? -1 : 1;
  const keyed = nodes.map((node) => ({ node, key: value(node, sort) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) {
      if (a.key !== b.key) return a.key === null ? 1 : -1;
    } else if (a.key !== b.key) {
      const less =
        typeof a.key === 'string' && typeof b.key === 'string'
          ? a.key.localeCompare(b.key, undefined, { numeric: true })
          : Number(a.key) - Number(b.key);
      if (less !== 0) return sign * less;
    }
    return a.node.id - b.node.id;
  });
  return keyed.map((one) => one.node);
}

/** What there is of something, with how many nodes have it, the most first. */
export function tally(nodes: readonly Node[], of: (node: Node) => readonly string[]): [string, number][] {
  const found = new Map<string, number>();
  for (const node of nodes) for (const word of of(node)) found.set(word, (found.get(word) ?? 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}

/** Over how many links questions to these nodes and their answers go: what asking costs, in transmissions. */
export function crossings(nodes: readonly Node[]): number {
  return nodes.reduce((sum, node) => sum + 2 * (node.hops ?? 0), 0);
}

/** The rows of a long table that are to be drawn: those that can be seen, and some more on both sides. */
export function windowOf(scroll: number, height: number, row: number, all: number, more = 8): { from: number; to: number } {
  const first = Math.max(0, Math.floor(scroll / row) - more);
  const from = Math.min(first, Math.max(0, all - 1));
  return { from, to: Math.min(all, Math.ceil((scroll + height) / row) + more) };
}

/** A node and all above it up to the gateway, the node first. A tree that is being told anew may have a loop: it ends there. */
export function way(nodes: ReadonlyMap<number, Node>, node: Node): Node[] {
  const path: Node[] = [];
  const seen = new Set<number>();
  for (let one: Node | undefined = node; one && !seen.has(one.id); one = nodes.get(one.parent ?? -1)) {
    seen.add(one.id);
    path.push(one);
  }
  return path;
}
