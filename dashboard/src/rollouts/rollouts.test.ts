// Plans as forms and back, and what roll-outs in waves are in words.

import { describe, expect, it } from 'vitest';
import { seconds, span } from '../lib/span';
import { rollout } from '../test/things';
import { decided } from './decisions';
import { draftOf, draftOfText, emptyDraft, emptyGate, emptyWave, planFile, planOf, usualGates } from './draft';
import type { Finding, Planned, Progress, WaveNode } from './types';
import { chance, chosenWave, consequence, evidence, ordered, phaseWords, settled, tally, verbsOf, waveState } from './waves';

const WHOLE = {
  name: '1.5.0 for sensors',
  select: { roles: ['sensor'], versions: ['1.4', '1.3 beta'], except: [2886735329] },
  canary: { size: 3, nodes: [7, 8], soak_s: 7200 },
  waves: [{ size: '10 %' }, { size: 5, soak_s: 600, select: { tags: ['roof'], nodes: [9] } }, { size: 'rest' }],
  gates: [
    { kind: 'faults', most: 0 },
    { kind: 'success', percent_least: 92.5, failures_least: 2 },
    { kind: 'restarts' },
    { kind: 'value', measure: 'rssi_dbm', worse_most: 7, nodes_least: 2, samples_least: 8 },
  ],
  confidence: 0.99,
  soak: { soak_s: 1800, looks: 6, baseline_s: 90, patience_s: 1800 },
  promotion: 'after_canary',
  approval_s: 604800,
  restart: { away_percent_most: 25, away_s_most: 300 },
  windows: [{ days: ['sat', 'sun'], from: '01:00', until: '05:00' }, { from: '22:00', until: '03:00' }],
  power: { battery_percent_least: 30 },
  retry: { attempts: 2, pause_s: 60 },
  on_failure: 'halt',
};

describe('a span', () => {
  it.each([[1800, '30 min'], [90, '90 s'], [604800, '7 d'], [7200, '2 h'], [0, '0 s']])('of %d s is written %s, and read again', (amount, text) => {
    expect(span(amount)).toBe(text);
    expect(seconds(text)).toBe(amount);
  });

  it('is read as people write it, and left as it is where it is none', () => {
    expect([seconds('1.5 h'), seconds('90'), seconds('2m'), seconds('soon')]).toEqual([5400, 90, 120, 'soon']);
  });
});

describe('a plan', () => {
  it('survives the form, whole', () => {
    const { draft, strange } = draftOf(WHOLE);
    expect(strange).toEqual([]);
    expect(planOf(draft)).toEqual(WHOLE);
    expect(draftOfText(JSON.stringify(planOf(draft))).draft).toEqual(draft);
  });

  it('says only what somebody wrote', () => {
    expect(planOf(emptyDraft())).toEqual({ waves: [{ size: '10 %' }, { size: '40 %' }, { size: 'rest' }], promotion: 'automatic', on_failure: 'rollback' });
    expect(planOf(emptyDraft([7, 9]))).toMatchObject({ select: { nodes: [7, 9] } });
  });

  it('has the usual gates without naming them, and names them when they are changed', () => {
    const gates = planOf({ ...emptyDraft(), gates: usualGates() }).gates;
    expect(draftOf({ gates }).draft.gates).toBeNull();
    const other = draftOf({ gates: [{ kind: 'faults', most: 1 }] }).draft;
    expect(planOf(other).gates).toEqual([{ kind: 'faults', most: 1 }]);
    expect(planOf({ ...other, gates: [] }).gates).toEqual([]);
  });

  it('lets the gateway name what is no number, no size and no time', () => {
    const draft = { ...emptyDraft(), waves: [emptyWave('lots'), emptyWave()], gates: [emptyGate('value', 'rssi_dbm', { worse_most: 'much' })] };
    draft.soak.looks = '−1';
    draft.soak.soak_s = 'long';
    draft.select.except = '7 x';
    expect(planOf(draft)).toMatchObject({
      waves: [{ size: 'lots' }, { size: '' }], gates: [{ kind: 'value', worse_most: 'much' }], soak: { looks: -1, soak_s: 'long' }, select: { except: [7, 'x'] },
    });
  });

  it('names what a file has that no plan has', () => {
    const { draft, strange } = draftOf({
      colour: 'red', waves: [{ size: { of: 3 }, speed: 1 }], gates: [{ kind: 'magic' }], select: 'all', power: [], promotion: 'never', windows: [{ from: '01:00', until: 5 }],
    });
    expect([...strange].sort()).toEqual(['colour', 'gates[0]', 'power', 'promotion', 'select', 'waves[0].size', 'waves[0].speed']);
    // A word that nobody knows must not let things happen by themselves.
    expect(draft.promotion).toBe('manual');
    expect(draft.gates).toEqual([]);
  });

  it.each([
    ['{', /no JSON/], ['[]', /JSON object/], ['null', /JSON object/], [' '.repeat(70_000), /at most 64 KB/],
  ])('is not read from %s', (text, words) => {
    expect(() => draftOfText(text)).toThrow(words);
  });

  it('has no more rows than the gateway takes', () => {
    expect(draftOf({ waves: Array.from({ length: 21 }, () => ({ size: 1 })) }).strange).toEqual(['waves']);
  });

  it('is a file with a name that every system takes', () => {
    expect(planFile({ ...emptyDraft(), name: '../1.5.0 für <Sensoren>' })).toBe('1.5.0-für-Sensoren.json');
    expect(planFile(emptyDraft())).toBe('plan.json');
  });
});

function member(id: number, outcome: WaveNode['outcome'], more: Partial<WaveNode> = {}): WaveNode {
  return { id, outcome, why: 'stands for 2', tries: 1, family: 'meshward', ...more };
}

function progress(more: Partial<Progress> = {}): Progress {
  return {
    phase: 'soaking', paused: false, why: '', wave: 0, since: '2026-03-01T12:00:00Z', until: null, eta_seconds: 60, verbs: ['pause', 'abort', 'rollback'], counts: {}, others: [],
    waves: [
      { wave: 0, name: 'the canary', state: 'soaking', began_at: '2026-03-01T12:00:00Z', batches: [], findings: [], nodes: [member(1, 'updated'), member(2, 'fault'), member(3, 'trial', { family: 'stock' })] },
      { wave: 1, name: 'wave 1', state: 'pending', began_at: null, batches: [], findings: [], nodes: [member(4, 'waiting'), member(5, 'waiting')] },
    ],
    ...more,
  };
}

const planned = (more: Partial<Progress> = {}): Planned => ({ ...rollout(7), progress: progress(more) }) as Planned;

describe('a roll-out in waves', () => {
  it('says its phase, with the wave that is meant', () => {
    expect(phaseWords(progress())).toBe('the canary: nodes are watched');
    expect(phaseWords(progress({ paused: true, phase: 'approval' }))).toBe('paused; the canary: somebody has to decide');
    expect(phaseWords(progress({ phase: 'rolled_back' }))).toBe('rolled back');
    expect(phaseWords(progress({ phase: 'something_new' as Progress['phase'] }))).toBe('the canary: something new');
    expect(waveState('odd_state' as 'broken').words).toBe('odd state');
  });

  it('counts outcomes, the gravest first, and knows none of later versions', () => {
    expect(tally({ updated: 3, fault: 1, quite_new: 2 } as Progress['counts']).map((each) => [each.words, each.count])).toEqual([
      ['went back by itself', 1], ['updated', 3], ['quite new', 2],
    ]);
    const nodes = progress().waves[0]?.nodes ?? [];
    expect(ordered(nodes, null).map((node) => node.id)).toEqual([2, 3, 1]);
    expect(ordered(nodes, 'updated').map((node) => node.id)).toEqual([1]);
    expect(settled(progress().waves[0]!)).toBeCloseTo(2 / 3);
    expect(settled({ ...progress().waves[0]!, state: 'skipped' })).toBe(0);
  });

  it('opens with the wave that somebody asked for, else with that under way', () => {
    expect(chosenWave(progress(), '1')?.wave).toBe(1);
    expect(chosenWave(progress(), '9')?.wave).toBe(0);
    expect(chosenWave(progress({ wave: 5 }), null)?.wave).toBe(0);
    expect(chosenWave(progress({ waves: [] }), null)).toBeNull();
  });

  const questions: [Parameters<typeof consequence>[0], RegExp[]][] = [
    ['approve', [/^wave 1 begins: 2 nodes start/]],
    ['pause', [/2 nodes wait, 2 nodes go on/]],
    ['resume', [/2 nodes still wait/]],
    ['abort', [/2 nodes keep what they run; 2 nodes that have started/]],
    ['rollback', [/^1 node is ordered back/, /1 stock node cannot be taken back.*it keeps/]],
  ];
  it.each(questions)('says how many nodes %s concerns', (verb, lines) => {
    const said = consequence(verb, planned());
    expect(said).toHaveLength(lines.length);
    lines.forEach((line, index) => expect(said[index]).toMatch(line));
  });

  it('ends when the last wave is approved', () => {
    expect(consequence('approve', planned({ waves: progress().waves.slice(0, 1) }))).toEqual(['It was the last wave: the roll-out is finished.']);
  });

  it('has no button for a verb that it does not know', () => {
    expect(verbsOf(progress({ verbs: ['pause', 'explode' as 'pause'] }))).toEqual(['pause']);
  });

  it('gives the numbers of a gate', () => {
    const found: Finding = { gate: 'rssi_dbm', verdict: 'holds', words: '', chance: 0.31, limit: 0.000035, worse: -1.25, wave: [3, 3], others: [10, 12] };
    expect(evidence(found)).toBe('wave 3 of 3 · others 10 of 12 · 1.3 dB better · by chance 0.31 · breaks below 1 in 28,571');
    expect(evidence({ ...found, gate: 'faults', chance: null, limit: null, worse: null })).toBe('wave 3 of 3 · others 10 of 12');
    expect(chance(0)).toBe('0');
  });
});

describe('decisions', () => {
  it('are those of one roll-out, of people and of the engine', () => {
    const line = (seq: number, action: string, subject: string, detail: object = {}) => ({ seq, action, subject, detail, at: '2026-03-01T12:00:00Z', actor: 'anna', hash: '' });
    const lines = [
      line(9, 'rollout.decision', '7', { what: 'roll_back', wave: 0, words: 'faults is broken', findings: [{}, {}] }),
      line(8, 'rollout.approve', '7'), line(7, 'rollout.approve', '70'), line(6, 'user.add', '7'), line(5, 'rollout.start', 'ab', { wave: 'x' }),
      line(4, 'rollout.start', 'ab'), line(3, 'rollout.start', 'cd'),
    ] as Parameters<typeof decided>[0];
    expect(decided(lines, { id: 7, sha256: 'ab', startedAt: '2026-03-01T12:00:00Z' })).toMatchObject([
      { seq: 9, what: 'roll_back', wave: 0, words: 'faults is broken', findings: 2, first: false },
      { seq: 8, what: 'approve', wave: null, findings: 0 },
      { seq: 5, what: 'start', wave: null, first: true },
    ]);
    // Another start of the same image, after this one, is another roll-out's.
    expect(decided(lines, { id: 8, sha256: 'ab', startedAt: '2026-03-01T11:00:00Z' })).toEqual([]);
  });
});
