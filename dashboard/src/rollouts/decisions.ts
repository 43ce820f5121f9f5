// Lines of the audit that are about one roll-out. Pure; what a line does not have is not guessed.

import type { components } from '../lib/generated/api';

type AuditLine = components['schemas']['AuditLine'];

export interface Decision {
  seq: number;
  at: string;
  actor: string;
  what: string;
  wave: number | null;
  words: string;
  /** How many gates' findings it was made of. */
  findings: number;
  /** Whether nothing of the roll-out was before it. */
  first: boolean;
}

/** The roll-out that is meant. Its start has no number yet: it is known by its image and its time. */
export interface About {
  id: number;
  sha256: string;
  startedAt: string;
}

/** How much later than the roll-out itself its row may have been written, in ms. */
const LATE_MS = 2_000;

/** What people asked for and what the engine decided, in the order of the lines, which is the newest first. */
export function decided(lines: readonly AuditLine[], about: About): Decision[] {
  const before = Date.parse(about.startedAt) + LATE_MS;
  const start = lines.find((line) => line.action === 'rollout.start' && line.subject === about.sha256 && Date.parse(line.at) <= before);
  return lines.filter((line) => line === start || (line.action.startsWith('rollout.') && line.subject === String(about.id))).map(decision);
}

function decision(line: AuditLine): Decision {
  const detail = line.detail as Record<string, unknown>;
  const engine = line.action === 'rollout.decision';
  return {
    seq: line.seq,
    at: line.at,
    actor: line.actor,
    what: engine && typeof detail.what === 'string' ? detail.what : line.action.slice('rollout.'.length),
    wave: typeof detail.wave === 'number' ? detail.wave : null,
    words: typeof detail.words === 'string' ? detail.words : '',
    findings: Array.isArray(detail.findings) ? detail.findings.length : 0,
    first: line.action === 'rollout.start',
  };
}
