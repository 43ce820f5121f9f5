// Who runs what: versions by hardware and role, and who has drifted from the version that their group should run. Pure.

import type { Firmware, Node, Rollout } from '../lib/types';
import { type Running, running } from './running';

/** Nodes that are alike: what an image is for. */
export interface Column {
  key: string;
  hardware: string | null;
  role: string | null;
  nodes: number;
}

export interface Row {
  /** `null` is that nobody told. */
  version: string | null;
  sha256: string | null;
  nodes: number;
  /** Ids by the key of a column, rising. */
  cells: ReadonlyMap<string, readonly number[]>;
}

/** A group with the version that it should run, and who runs another. */
export interface Drift {
  column: Column;
  wanted: string;
  /** Why that one. */
  because: 'rollout' | 'majority';
  others: readonly { id: number; version: string }[];
}

export interface Inventory {
  columns: readonly Column[];
  rows: readonly Row[];
  drifts: readonly Drift[];
  /** What each node runs. */
  running: ReadonlyMap<number, Running>;
}

const key = (hardware: string | null, role: string | null) => JSON.stringify([hardware, role]);

/** Takes stock. Columns and rows come in order of their names; what nobody told comes last. */
export function inventory(nodes: Iterable<Node>, images: readonly Firmware[], rollouts: Iterable<Rollout>): Inventory {
  const newest = [...rollouts].sort((a, b) => b.id - a.id);
  const known = new Map<number, Running>();
  const columns = new Map<string, Column>();
  const rows = new Map<string | null, { sha256: string | null; nodes: number; cells: Map<string, number[]> }>();
  for (const node of [...nodes].sort((a, b) => a.id - b.id)) {
    const one = running(node, images, newest);
    known.set(node.id, one);
    const place = key(one.hardware, one.role);
    const column = columns.get(place) ?? { key: place, hardware: one.hardware, role: one.role, nodes: 0 };
    column.nodes += 1;
    columns.set(place, column);
    const row = rows.get(one.version) ?? { sha256: null, nodes: 0, cells: new Map<string, number[]>() };
    row.sha256 ??= one.sha256;
    row.nodes += 1;
    row.cells.set(place, [...(row.cells.get(place) ?? []), node.id]);
    rows.set(one.version, row);
  }
  const ordered = [...columns.values()].sort((a, b) => last(a.hardware, b.hardware) || last(a.role, b.role));
  const versions = [...rows].map(([version, row]) => ({ version, ...row })).sort((a, b) => last(a.version, b.version));
  const drifts = ordered.map((column) => driftOf(column, versions, newest)).filter((drift) => drift !== null);
  return { columns: ordered, rows: versions, drifts, running: known };
}

/** Words in their order, numbers in them by size; what nobody told comes last. */
function last(a: string | null, b: string | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return a.localeCompare(b, 'en', { numeric: true });
}

function driftOf(column: Column, rows: readonly Row[], rollouts: readonly Rollout[]): Drift | null {
  const told = rows.filter((row) => row.version !== null && row.cells.has(column.key));
  const count = (row: Row) => row.cells.get(column.key)?.length ?? 0;
  const done = rollouts.find((each) => each.state === 'finished' && reached(each, told, column.key));
  const brought = done ? told.find((row) => row.sha256 === done.firmware.sha256) : undefined;
  const most = Math.max(0, ...told.map(count));
  const leaders = told.filter((row) => count(row) === most);
  // Of two equally common ones nobody knows which is meant.
  const wanted = brought ?? (leaders.length === 1 ? leaders[0] : undefined);
  if (!wanted?.version) return null;
  const others = told
    .filter((row) => row !== wanted)
    .flatMap((row) => (row.cells.get(column.key) ?? []).map((id) => ({ id, version: row.version as string })));
  if (others.length === 0) return null;
  return { column, wanted: wanted.version, because: brought ? 'rollout' : 'majority', others: others.sort((a, b) => a.id - b.id) };
}

/** Whether a roll-out has brought its image to somebody of a column. */
function reached(rollout: Rollout, rows: readonly Row[], column: string): boolean {
  const ids = new Set(rows.find((row) => row.sha256 === rollout.firmware.sha256)?.cells.get(column) ?? []);
  return rollout.nodes.some((line) => line.state === 'updated' && ids.has(line.id));
}

/** What a column is called. */
export function columnName(column: Column): string {
  const parts = [column.hardware, column.role].filter((part) => part !== null);
  return parts.length > 0 ? parts.join(' / ') : 'not told';
}
