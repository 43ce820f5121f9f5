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

/** What people asked for and what the engine decided, in the order of the lines. */
export function decided(lines: readonly AuditLine[], id: number): Decision[] {
  return lines.filter((line) => line.action.startsWith('rollout.') && line.subject === String(id)).map(decision);
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
