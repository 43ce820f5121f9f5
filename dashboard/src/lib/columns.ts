// The columns of the table of nodes, and which of them somebody wants to see. Pure.

import type { SortKey } from './nodes';

export interface Column {
  key: SortKey;
  text: string;
  title?: string;
  num?: boolean;
  /** Not on a narrow screen. */
  wide?: boolean;
  /** Only for who asked for it. */
  extra?: boolean;
}

export const COLUMNS: readonly Column[] = [
  { key: 'name', text: 'Node' },
  { key: 'state', text: 'State' },
  { key: 'score', text: 'Score' },
  { key: 'heard', text: 'Heard', num: true },
  { key: 'fw', text: 'Firmware' },
  { key: 'hops', text: 'Hops', num: true },
  { key: 'parent', text: 'Below', wide: true },
  { key: 'rssi', text: 'Signal', title: 'Of its link to the node it hangs below', num: true },
  { key: 'heap', text: 'Free heap', num: true },
  { key: 'rtt', text: 'Round trip', num: true, wide: true },
  { key: 'uptime', text: 'Up for', num: true, wide: true },
  { key: 'battery', text: 'Battery', num: true, extra: true },
  { key: 'loss', text: 'Loss', title: 'Of what it was asked lately', num: true, extra: true },
];

/** The columns that are shown: those that somebody chose, else the usual ones. The node itself is always there. */
export function columnsOf(chosen: readonly string[] | null): Column[] {
  return COLUMNS.filter((column) => column.key === 'name' || (chosen ? chosen.includes(column.key) : !column.extra));
}

/** What is chosen after one column was switched; `null` where it is as usual again. */
export function switched(chosen: readonly string[] | null, key: SortKey): string[] | null {
  const now = columnsOf(chosen).map((column) => column.key);
  const next = now.includes(key) ? now.filter((one) => one !== key) : [...now, key];
  const usual = columnsOf(null).map((column) => column.key);
  return usual.length === next.length && usual.every((one) => next.includes(one)) ? null : next;
}
