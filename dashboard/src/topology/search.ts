// Finds nodes by what a person types: id, name, tag or MD5. Pure.

/** What is looked at. */
export interface Findable {
  id: number;
  name?: string | null;
  tags?: readonly string[];
  facts?: readonly { topic: string; text: string }[];
}

/** Most hits that are listed. */
export const HITS_MAX = 20;

/** Best first: what is equal, what begins so, what holds it; the same rank in order of ids. All words must be found. */
export function find(nodes: Iterable<Findable>, typed: string): number[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const hits: { id: number; rank: number }[] = [];
  for (const node of nodes) {
    const ranks = words.map((word) => rank(node, word));
    if (ranks.every((each) => each > 0)) hits.push({ id: node.id, rank: Math.min(...ranks) });
  }
  hits.sort((a, b) => b.rank - a.rank || a.id - b.id);
  return hits.slice(0, HITS_MAX).map((hit) => hit.id);
}

function rank(node: Findable, word: string): number {
  const md5 = node.facts?.find((fact) => fact.topic === 'firmware_md5')?.text;
  const texts = [String(node.id), node.name, md5, ...(node.tags ?? [])];
  let best = 0;
  for (const text of texts) {
    const low = text?.toLowerCase();
    if (!low) continue;
    if (low === word) best = 3;
    else if (low.startsWith(word)) best = Math.max(best, 2);
    else if (low.includes(word)) best = Math.max(best, 1);
  }
  return best;
}
