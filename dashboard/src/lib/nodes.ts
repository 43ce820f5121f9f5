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
