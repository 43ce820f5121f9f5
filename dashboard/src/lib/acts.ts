// What can be done to many nodes: one request each, a few at once, and every exception is listed.

import { ApiError, api, words } from './api';
import type { Node, QueryAnswer } from './types';

/** Requests at once: the mesh is slower than we are. */
const AT_ONCE = 4;
/** The number of "restart" on the wire. */
export const RESTART = 1;
/** How long nodes have to answer a question, in seconds. */
const QUERY_TIMEOUT_S = 10;

/** What came of it for one node; `trouble` is null where it was done. */
export interface Outcome {
  node: number;
  words: string;
  trouble: boolean;
}

/** Does something to each node, in this order. */
export async function each(
  nodes: readonly Node[],
  act: (node: Node) => Promise<string>,
  told: (outcome: Outcome) => void,
): Promise<void> {
  const waiting = [...nodes];
  const worker = async () => {
    for (let node = waiting.shift(); node; node = waiting.shift()) {
      const one = node;
      const outcome = await act(one).then(
        (text) => ({ node: one.id, words: text, trouble: false }),
        (error: unknown) => ({ node: one.id, words: words(error), trouble: true }),
      );
      told(outcome);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Asks nodes how they fare, now. It takes channel time, out of the same budget as their reports. */
export async function askNow(ids: number[]): Promise<QueryAnswer> {
  const answer = await api.post('/api/v1/queries', {
    query: { wait: true },
    body: { nodes: ids, max_age_seconds: 0, timeout_seconds: QUERY_TIMEOUT_S },
  });
  if (!answer || !('outcomes' in answer)) throw new Error('the gateway gave no answer');
  return answer as QueryAnswer;
}

/** Sends a command and says what came of it. */
export async function command(id: number, number: number, params = ''): Promise<string> {
  const end = await api.post('/api/v1/nodes/{id}/commands', { path: { id }, body: { command: number, params, timeout_seconds: 15 } });
  if (end.outcome === 'timed_out') throw new Error('it did not answer in time');
  if (end.outcome === 'cancelled') throw new Error('it was taken back');
  return end.text ? `${end.outcome}: ${end.text}` : end.outcome;
}

/** Those that are deepest in the tree first: who restarts takes all below along. */
export function deepestFirst(nodes: readonly Node[]): Node[] {
  return [...nodes].sort((a, b) => (b.hops ?? 0) - (a.hops ?? 0) || a.id - b.id);
}

/** Adds a tag to a node, or takes it away. */
export async function tag(node: Node, word: string, add: boolean): Promise<string> {
  const now = await api.get('/api/v1/nodes/{id}/label', { path: { id: node.id } });
  const has = now.tags.includes(word);
  if (has === add) return add ? 'had it' : 'did not have it';
  const tags = add ? [...now.tags, word] : now.tags.filter((one) => one !== word);
  try {
    await api.patch('/api/v1/nodes/{id}/label', { path: { id: node.id }, body: { tags } });
  } catch (error) {
    throw error instanceof ApiError ? new Error(error.at('/tags') ?? error.message) : error;
  }
  return add ? 'added' : 'taken away';
}

/** Keeps quiet about nodes for a while. */
export async function silence(ids: number[], seconds: number, why: string): Promise<void> {
  await api.post('/api/v1/silences', { body: { nodes: ids, lasts_seconds: seconds, why } });
}

/** Forgets a node that is not in the mesh. */
export async function forget(id: number): Promise<string> {
  await api.delete('/api/v1/nodes/{id}', { path: { id } });
  return 'forgotten';
}
