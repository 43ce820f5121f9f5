// The page of a roll-out in waves, and the dialog that plans one, before a gateway that is made up.

import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { tick } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { clock } from '../lib/clock.svelte';
import { live } from '../lib/live.svelte';
import { router } from '../lib/router.svelte';
import { save } from '../lib/save';
import { who } from '../lib/session.svelte';
import type { Firmware, Role, Session, Status } from '../lib/types';
import Deploy from '../firmware/Deploy.svelte';
import RolloutPage from '../pages/Rollout.svelte';
import { node, rollout as plain } from '../test/things';
import type { Planned, Preview, Progress } from './types';

vi.mock('../lib/save', () => ({ save: vi.fn() }));

const EVIL = '<img src=x onerror=alert(1)>';
const PLAN = { name: 'careful', waves: [], gates: [] } as unknown as Planned['plan'];

let asked: { line: string; body: unknown; accept: string }[] = [];
let answers: Record<string, [number, unknown, string?]> = {};

beforeEach(() => {
  asked = [];
  answers = {};
  vi.mocked(save).mockClear();
  vi.stubGlobal('fetch', async (url: string, init: RequestInit = {}) => {
    const line = `${init.method ?? 'GET'} ${url.split('?')[0]}`;
    asked.push({ line, body: init.body ? JSON.parse(String(init.body)) : undefined, accept: (init.headers as Record<string, string>).accept ?? '' });
    const [status, body, type = status < 300 ? 'application/json' : 'application/problem+json'] = answers[line] ?? [200, { items: [] }];
    return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers: { 'content-type': type } });
  });
  live.known = true;
  live.connection = 'open';
  live.nodes = new Map([1, 2, 3, 4, 5].map((id) => [id, node(id, { name: id === 2 ? EVIL : null })]));
  live.rollouts = new Map();
  live.mesh = { gateway: 9, learning: false } as Status;
  clock.now = Date.parse('2026-03-01T12:10:00Z');
  as('operator');
  router.go('/rollouts/7', true);
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function as(role: Role): void {
  who.session = { name: 'anna', role, means: 'session' } as Session;
}

const settled = () => new Promise((done) => setTimeout(done, 30));
const lines = () => asked.map((each) => each.line);

function progress(more: Partial<Progress> = {}): Progress {
  return {
    phase: 'soaking', paused: false, why: '', wave: 0, since: '2026-03-01T12:00:00Z', until: '2026-03-01T12:30:00Z', eta_seconds: 4_210,
    verbs: ['pause', 'abort', 'rollback'], counts: { updated: 1, fault: 1, waiting: 2 },
    waves: [
      {
        wave: 0, name: 'the canary', state: 'soaking', began_at: '2026-03-01T12:00:00Z', batches: [[1, 2]],
        nodes: [
          { id: 1, family: 'meshward', wave: 0, why: 'stands for 4', outcome: 'updated', tries: 1 },
          { id: 2, family: 'meshward', wave: 0, why: EVIL, outcome: 'fault', reason: `went back: ${EVIL}`, tries: 1 },
        ],
        findings: [
          { gate: 'free_heap_bytes', verdict: 'holds', words: 'as before', chance: 0.31, limit: 0.01, worse: 1.2, wave: [2, 2], others: [2, 2] },
          { gate: 'faults', verdict: 'broken', words: `1 of 2 went back ${EVIL}`, chance: null, limit: null, worse: null, wave: [1, 2], others: [0, 0] },
        ],
      },
      {
        wave: 1, name: 'wave 1', state: 'pending', began_at: null, batches: [], findings: [],
        nodes: [{ id: 3, family: 'stock', wave: 1, why: 'a leaf', outcome: 'waiting', tries: 0 }, { id: 4, wave: 1, why: 'a leaf', outcome: 'waiting', tries: 0 }],
      },
    ],
    others: [{ id: 5, wave: null, why: '', outcome: 'declined', reason: 'runs this image already', tries: 0 }],
    ...more,
  };
}

function planned(more: Partial<Progress> = {}, rest: Partial<Planned> = {}): Planned {
  return { ...plain(7, { phase: 'held', hold: true }), plan: PLAN, progress: progress(more), ...rest } as Planned;
}

const stream = (one: Planned) => (live.rollouts = new Map([[7, one]]));

describe('the page of a roll-out', () => {
  it('shows where it is, its waves, and what came of each node, with all words as text', async () => {
    stream(planned());
    render(RolloutPage);
    expect(screen.getByTestId('wave-phase').textContent).toBe('the canary: nodes are watched');
    expect(screen.getByTestId('wave-left').textContent).toBe('20 min');
    expect(screen.getByTestId('wave-eta').textContent).toBe('1 h 10 min');
    expect(screen.getByTestId('wave-head').textContent).toContain('by the plan “careful”');
    expect(screen.getByTestId('wave-0').textContent).toContain('1 went back by itself');
    expect(screen.getByTestId('wave-1').textContent).toContain('waits');
    const row = document.querySelector('[data-node="2"]')?.textContent ?? '';
    expect(row).toContain(EVIL);
    expect(row).toContain('went back by itself');
    expect(document.querySelector('img')).toBeNull();
    // The broken gate is first, with the numbers that it was made of.
    const gates = [...screen.getByTestId('findings').querySelectorAll('li')];
    expect(gates.map((gate) => gate.dataset.verdict)).toEqual(['broken', 'holds']);
    expect(gates[1]?.textContent).toContain('1.2 % worse · by chance 0.31 · breaks below 0.01');
    expect(screen.getByTestId('panel-others').textContent).toContain('runs this image already');
    // Nothing was asked for it: the stream had all.
    expect(asked).toEqual([]);
  });

  it('counts down, and follows the stream to the end', async () => {
    stream(planned());
    render(RolloutPage);
    clock.now += 1_199_000;
    await tick();
    expect(screen.getByTestId('wave-left').textContent).toBe('1 s');
    clock.now += 5_000;
    await tick();
    expect(screen.getByTestId('wave-left').textContent).toBe('any moment');
    expect(screen.queryByTestId('report')).toBeNull();
    stream(planned({ phase: 'rolled_back', why: 'faults is broken', verbs: [], counts: { reverted: 2 }, eta_seconds: null, until: null }, { state: 'finished' }));
    await tick();
    expect(screen.getByTestId('wave-phase').textContent).toBe('rolled back');
    expect(screen.getByTestId('wave-why').textContent).toBe('faults is broken');
    expect(screen.getByTestId('report')).toBeTruthy();
    for (const id of ['wave-left', 'wave-eta', 'wave-pause', 'wave-rollback']) expect(screen.queryByTestId(id)).toBeNull();
  });

  it('chooses a wave by the address', async () => {
    stream(planned());
    render(RolloutPage);
    await fireEvent.click(screen.getByTestId('wave-1'));
    expect(router.search).toBe('?wave=1');
    expect(screen.getByTestId('wave-1').getAttribute('aria-pressed')).toBe('true');
    expect(screen.getByTestId('panel-wave').textContent).toContain('Nodes of wave 1');
    expect(screen.getByTestId('panel-gates').textContent).toContain('They have not looked yet');
  });

  it('rolls back only after a question with counts, and shows the answer at once', async () => {
    stream(planned());
    answers['POST /api/v1/rollouts/7/rollback'] = [200, planned({ phase: 'rolling_back', verbs: [] })];
    render(RolloutPage);
    await fireEvent.click(screen.getByTestId('wave-rollback'));
    expect(screen.getByTestId('wave-question').textContent).toMatch(/^1 node is ordered back/);
    expect(screen.getByTestId('wave-confirm').textContent).toBe('Roll back 1 node');
    expect(asked).toEqual([]);
    await fireEvent.click(screen.getByTestId('wave-confirm'));
    await settled();
    expect(lines()).toEqual(['POST /api/v1/rollouts/7/rollback']);
    expect(screen.getByTestId('wave-phase').textContent).toBe('nodes go back');
    // What the stream brings next is newer than the answer.
    stream(planned({ phase: 'rolled_back', verbs: [] }));
    await tick();
    expect(screen.getByTestId('wave-phase').textContent).toBe('rolled back');
  });

  it('has a button for each verb that the gateway names, and says why one is refused', async () => {
    stream(planned({ phase: 'approval', verbs: ['approve', 'pause', 'abort'] }));
    answers['POST /api/v1/rollouts/7/approve'] = [409, { title: 'Conflict', status: 409, detail: 'nothing waits for an approval' }];
    render(RolloutPage);
    expect(['approve', 'pause', 'abort'].every((verb) => screen.queryByTestId(`wave-${verb}`))).toBe(true);
    expect(screen.queryByTestId('wave-rollback')).toBeNull();
    // The transfer's own verbs are not those of a plan.
    for (const id of ['rollout-pause', 'rollout-abort', 'rollout-activate']) expect(screen.queryByTestId(id)).toBeNull();
    await fireEvent.click(screen.getByTestId('wave-approve'));
    expect(screen.getByTestId('wave-question').textContent).toBe('wave 1 begins: 2 nodes start the image.');
    await fireEvent.click(screen.getByTestId('wave-confirm'));
    await settled();
    expect(screen.getByTestId('wave-phase').textContent).toBe('the canary: somebody has to decide');
  });

  it('lets a viewer look, and nobody act on what is old', async () => {
    as('viewer');
    stream(planned());
    const { unmount } = render(RolloutPage);
    expect(screen.getByTestId('waves')).toBeTruthy();
    for (const verb of ['pause', 'abort', 'rollback']) expect(screen.queryByTestId(`wave-${verb}`)).toBeNull();
    expect(screen.queryByTestId('panel-decisions')).toBeNull();
    unmount();
    as('operator');
    live.connection = 'lost';
    render(RolloutPage);
    expect((screen.getByTestId('wave-pause') as HTMLButtonElement).disabled).toBe(true);
  });

  it('says that the waves are not chosen yet', () => {
    stream(planned({ phase: 'staging', waves: [], counts: {} }));
    render(RolloutPage);
    expect(screen.getByTestId('panel-waves').textContent).toContain('when everybody who can has the image');
  });

  it('asks the gateway for one of before, and says that there is none or that it could not', async () => {
    answers['GET /api/v1/rollouts/7'] = [200, planned({ phase: 'finished', verbs: [] }, { state: 'finished' })];
    const { unmount } = render(RolloutPage);
    await settled();
    expect(screen.getByTestId('wave-phase').textContent).toBe('finished');
    unmount();
    answers['GET /api/v1/rollouts/7'] = [404, { title: 'Not Found', status: 404 }];
    const second = render(RolloutPage);
    await settled();
    expect(screen.getByTestId('empty').textContent).toContain('knows no roll-out 7');
    second.unmount();
    answers['GET /api/v1/rollouts/7'] = [503, { title: 'Unavailable', status: 503, detail: 'the store is away' }];
    render(RolloutPage);
    await settled();
    expect(screen.getByTestId('panel-transfer').textContent).toContain('the store is away');
    expect(lines().filter((line) => line === 'GET /api/v1/rollouts/7')).toHaveLength(3);
  });

  it('waits for the first snapshot before it asks', async () => {
    live.known = false;
    render(RolloutPage);
    await settled();
    expect(asked).toEqual([]);
    expect(screen.getByTestId('panel-transfer').textContent).toContain('Loading');
  });

  it('gives the report in both forms', async () => {
    stream(planned({ phase: 'halted', verbs: [] }, { state: 'finished' }));
    answers['GET /api/v1/rollouts/7/report'] = [200, '# Report', 'text/markdown; charset=utf-8'];
    render(RolloutPage);
    await fireEvent.click(screen.getByTestId('report-md'));
    await settled();
    answers['GET /api/v1/rollouts/7/report'] = [200, { phase: 'halted' }];
    await fireEvent.click(screen.getByTestId('report-json'));
    await settled();
    expect(asked.map((each) => each.accept)).toEqual(['text/markdown', 'application/json']);
    const files = await Promise.all(vi.mocked(save).mock.calls.map(async ([name, content]) => [name, await content.text()]));
    expect(files).toEqual([['rollout-7.md', '# Report'], ['rollout-7.json', '{\n  "phase": "halted"\n}\n']]);
  });

  it('tells admins who decided what, once per decision and not in a loop', async () => {
    as('admin');
    const line = { seq: 4, at: '2026-03-01T12:00:00Z', actor: 'meshward', action: 'rollout.decision', subject: '7', hash: '', detail: { what: 'begin', wave: 0, words: EVIL, findings: [] } };
    answers['GET /api/v1/audit'] = [200, { items: [line, { ...line, seq: 3, action: 'rollout.start', subject: 'ab'.repeat(32), actor: 'anna', detail: {} }], next: 3 }];
    stream(planned());
    render(RolloutPage);
    await settled();
    expect(screen.getByTestId('decisions').textContent).toContain(`begin, wave 0: ${EVIL}`);
    expect(screen.getByTestId('decisions').textContent).toContain('anna');
    const asks = () => lines().filter((each) => each === 'GET /api/v1/audit').length;
    expect(asks()).toBe(1);
    stream(planned({ eta_seconds: 4_000 }));
    await settled();
    expect(asks()).toBe(1);
    stream(planned({ phase: 'approval' }));
    await settled();
    expect(asks()).toBe(2);
  });

  it('shows one without a plan as it always was', () => {
    live.rollouts = new Map([[7, plain(7)]]);
    render(RolloutPage);
    expect(screen.queryByTestId('panel-waves')).toBeNull();
    expect(screen.getByTestId('rollout-pause')).toBeTruthy();
  });
});

const IMAGE = { sha256: 'ab'.repeat(32), md5: 'cd'.repeat(16), name: 'new.bin', size: 500_000, manifest: { hardware: 'ESP32', role: 'sensor', version: '2.0', sequence: 2 } } as Firmware;

function preview(): Preview {
  const forecast = { groups: [{ nodes: [1], family: 'meshward', scheme: 'lzma', bytes: 4_000, channel_seconds: 3, eta_seconds: 60 }], eta_seconds: 60, channel_seconds: 3 };
  return {
    plan: PLAN, forecast, notes: ['1 stock nodes cannot be taken back from the image, except by another update'], bytes: 412_345, channel_seconds: 61.2, staging_seconds: 121, eta_seconds: 4_441,
    waves: [
      { wave: 0, name: 'the canary', nodes: [{ id: 1, family: 'meshward', why: 'stands for 4' }], batches: 1, seconds: 2_460, ends_after_seconds: 2_581 },
      { wave: 1, name: 'wave 1', nodes: [{ id: 2, family: 'stock', why: EVIL }], batches: 1, seconds: 1_860, ends_after_seconds: 4_441 },
    ],
    left_out: [{ id: 5, family: 'meshward', why: 'runs this image already' }], no_way_back: [2],
  } as unknown as Preview;
}

describe('the deploy dialog', () => {
  const started: [number, boolean][] = [];
  const show = (nodes: number[] | null = null) =>
    render(Deploy, { open: true, images: [IMAGE], firmware: null, nodes, onstarted: (id: number, waves: boolean) => started.push([id, waves]) });

  beforeEach(() => (started.length = 0));

  it('starts no plan before its preview was seen, which names who has no way back', async () => {
    answers['POST /api/v1/rollout-previews'] = [200, preview()];
    answers['POST /api/v1/rollouts'] = [201, { id: 9 }];
    show([1, 2]);
    expect(screen.queryByTestId('plan')).toBeNull();
    await fireEvent.click(screen.getByTestId('deploy-waves'));
    expect((screen.getByTestId('deploy-next') as HTMLButtonElement).disabled).toBe(true);
    await fireEvent.input(screen.getByTestId('canary-size'), { target: { value: '1' } });
    await fireEvent.click(screen.getByTestId('deploy-forecast'));
    await settled();
    const plan = { select: { nodes: [1, 2] }, canary: { size: 1 }, waves: [{ size: '10 %' }, { size: '40 %' }, { size: 'rest' }], promotion: 'automatic', on_failure: 'rollback' };
    const body = { firmware: IMAGE.sha256, scheme: 'auto', plan };
    expect(asked).toMatchObject([{ line: 'POST /api/v1/rollout-previews', body }]);
    expect(screen.getByTestId('no-way-back').textContent).toContain(EVIL);
    expect(screen.getAllByTestId('preview-wave')[0]?.textContent).toContain('stands for 4');
    expect(screen.getByTestId('preview-left-out').textContent).toContain('runs this image already');
    expect(document.querySelector('img')).toBeNull();
    await fireEvent.click(screen.getByTestId('deploy-next'));
    expect(screen.getByTestId('deploy-question').textContent).toMatch(/2 nodes\s+and started in 2 waves\. First by\s+1 node/);
    expect(screen.getByTestId('no-way-back')).toBeTruthy();
    await fireEvent.click(screen.getByTestId('deploy-confirm'));
    await vi.waitFor(() => expect(started).toEqual([[9, true]]));
    expect(asked[1]).toMatchObject({ line: 'POST /api/v1/rollouts', body });
  });

  it('wants another preview for another plan', async () => {
    answers['POST /api/v1/rollout-previews'] = [200, preview()];
    show();
    await fireEvent.click(screen.getByTestId('deploy-waves'));
    await fireEvent.click(screen.getByTestId('deploy-forecast'));
    await settled();
    expect((screen.getByTestId('deploy-next') as HTMLButtonElement).disabled).toBe(false);
    await fireEvent.change(screen.getByTestId('promotion'), { target: { value: 'manual' } });
    expect((screen.getByTestId('deploy-next') as HTMLButtonElement).disabled).toBe(true);
    expect(screen.queryByTestId('preview')).toBeNull();
  });

  it('puts each mistake to its field, and opens what hides one', async () => {
    answers['POST /api/v1/rollout-previews'] = [422, {
      title: 'Unprocessable Content', status: 422, detail: 'the plan makes no sense', errors: [
        { pointer: '/plan/waves/1/select', detail: 'it is node 3' },
        { pointer: '/plan/waves/0/size', detail: '"lots" is no size' },
        { pointer: '/plan/retry/attempts', detail: 'it is 90, and should be at most 10' },
      ],
    }];
    show();
    await fireEvent.click(screen.getByTestId('deploy-waves'));
    await fireEvent.input(screen.getAllByTestId('wave-size')[0]!, { target: { value: 'lots' } });
    await fireEvent.click(screen.getByTestId('deploy-forecast'));
    await settled();
    const size = screen.getAllByTestId('wave-size')[0]!;
    expect(size.getAttribute('aria-invalid')).toBe('true');
    expect(document.getElementById(size.getAttribute('aria-describedby') ?? '')?.textContent).toBe('"lots" is no size');
    const attempts = document.querySelector('[name="/plan/retry/attempts"]');
    expect(attempts?.getAttribute('aria-invalid')).toBe('true');
    expect(attempts?.closest('details')?.open).toBe(true);
    expect([...document.querySelectorAll('[role=alert]')].some((each) => each.textContent === 'it is node 3' && each.closest('details')?.open)).toBe(true);
  });

  it('takes a plan out of a file, names what is none, and gives it back', async () => {
    show();
    await fireEvent.click(screen.getByTestId('deploy-waves'));
    const bring = (text: string) => fireEvent.change(screen.getByTestId('plan-import'), { target: { files: [new File([text], 'mine.json')] } });
    await bring('{"canary": {"size": 2}, "waves": [{"size": "rest"}], "colour": "red"}');
    await vi.waitFor(() => expect(screen.getAllByTestId('wave-size')).toHaveLength(1));
    expect((screen.getByTestId('canary-size') as HTMLInputElement).value).toBe('2');
    expect(screen.getByTestId('plan-strange').textContent).toContain('colour');
    await fireEvent.click(screen.getByTestId('plan-export'));
    const [name, content] = vi.mocked(save).mock.calls[0]!;
    expect(name).toBe('plan.json');
    expect(JSON.parse(await content.text())).toEqual({ canary: { size: 2 }, waves: [{ size: 'rest' }], promotion: 'automatic', on_failure: 'rollback' });
    await bring('no plan');
    await vi.waitFor(() => expect(screen.getByTestId('plan-trouble').textContent).toMatch(/^mine\.json: this is no JSON/));
    expect(screen.getAllByTestId('wave-size')).toHaveLength(1);
  });

  it('adds and removes waves, gates and windows', async () => {
    answers['POST /api/v1/rollout-previews'] = [200, preview()];
    show();
    await fireEvent.click(screen.getByTestId('deploy-waves'));
    await fireEvent.click(screen.getByLabelText('Remove wave 2'));
    await fireEvent.click(screen.getByTestId('wave-add'));
    await fireEvent.click(screen.getByTestId('gates-own'));
    expect(screen.getByTestId('gates').querySelectorAll('li')).toHaveLength(8);
    for (let turn = 8; turn > 1; turn -= 1) await fireEvent.click(screen.getByLabelText(`Remove gate ${turn}`));
    await fireEvent.click(screen.getByTestId('window-add'));
    await fireEvent.click(screen.getByText('sat'));
    await fireEvent.input(document.querySelector('[name="/plan/windows/0/from"]')!, { target: { value: '01:00' } });
    await fireEvent.click(screen.getByTestId('deploy-forecast'));
    await settled();
    expect(asked[0]?.body).toMatchObject({
      plan: { waves: [{ size: '10 %' }, { size: 'rest' }, { size: 'rest' }], gates: [{ kind: 'faults', most: 0 }], windows: [{ days: ['sat'], from: '01:00', until: '' }] },
    });
  });
});
