// How good a link is, and how it is drawn: wide and whole is good, thin and dashed is bad. Pure.
//
// A node hears its parent, so its RSSI belongs to the link above it and to no other.

import type { Node } from '../lib/types';
import { metric } from './scales';

export interface LinkLook {
  key: 'good' | 'fair' | 'weak' | 'unknown';
  label: string;
  width: number;
  dash: readonly number[];
}

export const LINK_LOOKS: readonly LinkLook[] = [
  { key: 'good', label: '−70 dBm and more', width: 3, dash: [] },
  { key: 'fair', label: '−80 to −71 dBm', width: 2, dash: [] },
  { key: 'weak', label: 'below −80 dBm, or 10 % lost', width: 1.5, dash: [7, 4] },
  { key: 'unknown', label: 'not measured', width: 1, dash: [2, 3] },
];
const [GOOD, FAIR, WEAK, UNTOLD] = LINK_LOOKS as [LinkLook, LinkLook, LinkLook, LinkLook];

/** The look of the link from a node to its parent. */
export function linkLook(child: Node | undefined): LinkLook {
  const rssi = metric(child, 'rssi_dbm');
  const loss = metric(child, 'loss_percent');
  if (loss !== null && loss >= 10) return WEAK;
  if (rssi === null) return UNTOLD;
  if (rssi >= -70) return GOOD;
  return rssi >= -80 ? FAIR : WEAK;
}

/** The same in words, for the table and the card. */
export function linkWords(child: Node | undefined): string {
  const rssi = metric(child, 'rssi_dbm');
  const loss = metric(child, 'loss_percent');
  const trip = metric(child, 'round_trip_ms');
  const parts = [];
  if (rssi !== null) parts.push(`${String(Math.round(rssi)).replace('-', '−')} dBm`);
  if (loss !== null && loss > 0) parts.push(`${Math.round(loss * 10) / 10} % lost`);
  if (trip !== null) parts.push(`${Math.round(trip)} ms there and back`);
  return parts.length > 0 ? parts.join(', ') : 'not measured';
}
