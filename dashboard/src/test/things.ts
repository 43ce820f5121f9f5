// Things of the mesh for tests, with all that they must have.

import type { Alert, MeshEvent, Node, Rollout, Score, Status } from '../lib/types';

export const T0 = '2026-03-01T12:00:00Z';

export function score(points: number | null = 100, deductions: Score['deductions'] = []): Score {
  const level = points === null ? 'unknown' : points >= 80 ? 'ok' : points >= 50 ? 'warning' : 'critical';
  return { points, level, trend: 'steady', deductions };
}

export function node(id: number, more: Partial<Node> = {}): Node {
  return {
    id,
    name: null,
    state: 'online',
    since: T0,
    last_heard_at: T0,
    period_seconds: 30,
    family: 'meshward',
    joins: 1,
    parent: 1,
    hops: 1,
    root: false,
    time_authority: false,
    tags: [],
    score: score(),
    metrics: [],
    facts: [],
    ...more,
  };
}

export function told(name: string, value: number, unit = ''): Node['metrics'][number] {
  return { name, value, unit, observed_at: T0, source: 'telemetry' };
}

export function alert(fingerprint: string, more: Partial<Alert> = {}): Alert {
  return {
    fingerprint,
    rule: 'node_offline',
    severity: 'critical',
    subject: 'node 5',
    node: 5,
    state: 'active_unack',
    active: true,
    since: T0,
    raised_at: T0,
    times: 1,
    value: null,
    evidence: 'nothing for 60 s',
    known_by: null,
    assigned_to: null,
    suppressed_by: null,
    comments: [],
    ...more,
  };
}

export function event(id: number, more: Partial<MeshEvent> = {}): MeshEvent {
  return { id, at: T0, kind: 'topology', name: 'join', node: 5, text: 'is in the mesh, below node 1', ...more };
}

export function status(more: Partial<Status> = {}): Status {
  return {
    gateway: 1,
    learning: false,
    states: { online: 2 },
    score: score(90),
    overhead: { share_percent: 0.5, budget_percent: 2, period_seconds: 30, period_bound: false, classes: { reports: 0.4, questions: 0.1 } },
    incidents: [],
    alerts: [],
    dropped: {},
    ...more,
  };
}

export function rollout(id: number, more: Partial<Rollout> = {}): Rollout {
  return {
    id,
    state: 'running',
    phase: 'delivering',
    eta_seconds: 60,
    transfers: { first_chunk_at: null, meshward_seconds: null, stock_seconds: null },
    firmware: { sha256: 'ab'.repeat(32), md5: 'cd'.repeat(16), size: 1_000, name: 'fw.bin', chip: 'ESP32', project: null, version: null },
    role: 'sensor',
    hardware: 'ESP32',
    scheme: 'auto',
    hold: false,
    started_at: T0,
    finished_at: null,
    nodes: [],
    ...more,
  };
}
