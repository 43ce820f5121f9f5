import { fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { setCsrf } from '../lib/api';
import type { Firmware, Node, Rollout, RolloutNode } from '../lib/types';
import Deploy from './Deploy.svelte';
import { columnName, inventory } from './inventory';
import InventoryMatrix from './InventoryMatrix.svelte';
import { bodyOf, emptyForm, idsOf, missing, sums } from './form';
import { consequence, counts, failedOf, foremost, ordered, percentOf, verbs } from './progress';
import { digitsOf, imageName, running } from './running';
import type { Forecast } from './types';
import { refusal, unfit, upload } from './upload';

const AT = '2026-01-01T00:00:00Z';
const LATER = '2026-01-02T00:00:00Z';

function image(version: string, digits: string, more: Partial<Firmware> = {}): Firmware {
  const manifest = { hardware: 'ESP32', role: 'sensor', version, sequence: 1 };
  return { sha256: digits.padEnd(64, '0'), md5: digits.padEnd(32, 'f'), name: `${version}.bin`, size: 500_000, manifest, ...more } as Firmware;
}

function node(id: number, more: { id?: number; md5?: string; version?: string; hardware?: string; at?: string } = {}): Node {
  const observed_at = more.at ?? AT;
  const facts = Object.entries({ firmware_md5: more.md5, version: more.version, hardware: more.hardware })
    .filter(([, text]) => text !== undefined)
    .map(([topic, text]) => ({ topic, text, observed_at, source: 'package_604' }));
  const metrics = more.id === undefined ? [] : [{ name: 'firmware_id', value: more.id, unit: '', observed_at, source: 'telemetry' }];
  return { id, name: null, state: 'online', family: 'stock', score: { deductions: [] }, metrics, facts } as unknown as Node;
}

function line(id: number, state: string, done = 0, parts = 0, reason?: string): RolloutNode {
  return { id, state, done, parts, reason } as RolloutNode;
}

function rollout(id: number, firmware: Firmware, nodes: RolloutNode[], more: Partial<Rollout> = {}): Rollout {
  return {
    id, firmware, nodes, state: 'finished', phase: 'finished', hold: false, role: 'sensor', hardware: 'ESP32', scheme: 'auto',
    started_at: AT, finished_at: LATER, transfers: {}, ...more,
  } as Rollout;
}

const OLD = image('1.0', 'aabbccdd');
const NEW = image('1.1', '11223344');

describe('what a node runs', () => {
  const groups = [{ nodes: [1], running: { id: OLD.sha256.slice(0, 16) }, hardware: 'ESP32', role: 'sensor' }];
  const asked = { forecast: { groups } } as unknown as Partial<Rollout>;
  const rows: [string, Node, Rollout[], string | null, string | null][] = [
    ['by the digits of telemetry', node(1, { id: 0xaabbccdd }), [], '1.0', OLD.sha256],
    ['by digits of no kept image', node(1, { id: 0x00c0ffee }), [], '00c0ffee', null],
    ['by its MD5, in any case', node(1, { md5: OLD.md5.toUpperCase() }), [], '1.0', OLD.sha256],
    ['by what it calls itself', node(1, { version: 'v7' }), [], 'v7', null],
    ['by an update that proved it', node(1), [rollout(1, NEW, [line(1, 'updated')])], '1.1', NEW.sha256],
    ['by the newest of these', node(1, { id: 0xaabbccdd, at: AT }), [rollout(1, NEW, [line(1, 'updated')])], '1.1', NEW.sha256],
    ['by what a roll-out was told, until it has updated it', node(1), [rollout(1, NEW, [line(1, 'receiving')], asked)], '1.0', OLD.sha256],
    ['by that update, not by what was told before', node(1), [rollout(1, NEW, [line(1, 'updated')], asked)], '1.1', NEW.sha256],
    ['not by an update that failed', node(1), [rollout(1, NEW, [line(1, 'failed')])], null, null],
    ['by nothing', node(1), [], null, null],
  ];
  it.each(rows)('%s', (_, one, rollouts, version, sha256) => {
    expect(running(one, [OLD, NEW], rollouts)).toMatchObject({ version, sha256 });
  });

  it('digits have their zeros', () => {
    expect(digitsOf(0xabc)).toBe('00000abc');
    expect(digitsOf(0xffff_ffff)).toBe('ffffffff');
    expect(imageName({ ...OLD, manifest: null } as Firmware)).toBe('1.0.bin');
  });
});

describe('the inventory', () => {
  it('counts versions by hardware and role, in order, those who do not tell last', () => {
    const nodes = [node(5), node(1, { id: 0xaabbccdd }), node(2, { id: 0x11223344 }), node(3, { id: 0x11223344 }), node(4, { version: '1.10', hardware: 'ESP8266' })];
    const stock = inventory(nodes, [OLD, NEW], []);
    expect(stock.columns.map(columnName)).toEqual(['ESP32 / sensor', 'ESP8266', 'not told']);
    expect(stock.rows.map((row) => [row.version, row.nodes])).toEqual([['1.0', 1], ['1.1', 2], ['1.10', 1], [null, 1]]);
    expect(stock.rows[1]?.cells.get(stock.columns[0]!.key)).toEqual([2, 3]);
  });

  it('finds drift from what the last roll-out brought, else from what most run, and none where nobody knows', () => {
    const nodes = [1, 2].map((id) => node(id, { id: 0xaabbccdd, at: LATER })).concat(node(3));
    const brought = [rollout(1, NEW, [line(3, 'updated')])];
    expect(inventory(nodes, [OLD, NEW], brought).drifts).toMatchObject([
      { wanted: '1.1', because: 'rollout', others: [{ id: 1, version: '1.0' }, { id: 2, version: '1.0' }] },
    ]);
    const most = [node(1, { id: 0xaabbccdd }), node(2, { id: 0xaabbccdd }), node(3, { id: 0x11223344 })];
    expect(inventory(most, [OLD, NEW], []).drifts).toMatchObject([{ wanted: '1.0', because: 'majority', others: [{ id: 3, version: '1.1' }] }]);
    expect(inventory(most.slice(1), [OLD, NEW], []).drifts).toEqual([]);
  });

  it('shows markup in versions as text', () => {
    const evil = '<img src=x onerror=alert(1)>';
    const { container } = render(InventoryMatrix, { inventory: inventory([node(1, { version: evil })], [], []), ondeploy: null });
    expect(container.querySelector('img')).toBeNull();
    expect(container.textContent).toContain(evil);
  });
});

describe('a roll-out', () => {
  const lines = [line(4, 'updated', 3, 12), line(1, 'receiving', 6, 12), line(2, 'failed', 0, 0, 'it has gone'), line(3, 'ready', 12, 12), line(5, 'waiting')];

  it('says how far each node is', () => {
    expect(lines.map(percentOf)).toEqual([100, 50, null, 100, null]);
    expect(percentOf(line(1, 'receiving', 99, 12))).toBe(100);
    expect(ordered(lines, null).map((each) => each.id)).toEqual([2, 1, 3, 5, 4]);
    expect(ordered(lines, 'failed').map((each) => each.id)).toEqual([2]);
    expect([...counts(lines)]).toEqual([['updated', 1], ['under_way', 1], ['failed', 1], ['ready', 1], ['waiting', 1]]);
    expect(counts([line(1, 'something_new')]).get('under_way')).toBe(1);
  });

  const states: [Partial<Rollout>, string[]][] = [
    [{ state: 'running' }, ['pause', 'abort']],
    [{ state: 'paused' }, ['resume', 'abort']],
    [{ state: 'running', hold: true }, ['activate', 'pause', 'abort']],
    [{ state: 'paused', hold: true }, ['resume', 'abort']],
    [{ state: 'finished', hold: true }, []],
  ];
  it.each(states)('%o can be %j', (more, can) => {
    expect(verbs(rollout(1, NEW, lines, more))).toEqual(can);
  });

  it('says how many nodes a verb concerns, and whom to try again', () => {
    const one = rollout(1, NEW, lines, { state: 'running' });
    expect(consequence('abort', one, 0)).toMatch(/^3 nodes that are not done/);
    expect(consequence('activate', one, 1)).toMatch(/^1 node restart/);
    expect(failedOf(one)).toEqual([2]);
  });

  it('opens with what runs, else with the newest', () => {
    const all = [rollout(1, OLD, [], { state: 'paused' }), rollout(2, NEW, [])];
    expect(foremost(all)?.id).toBe(1);
    expect(foremost([rollout(1, OLD, []), rollout(2, NEW, [])])?.id).toBe(2);
    const waiting = rollout(3, NEW, [], { state: 'running', waits_for: 1 });
    expect(foremost([...all, waiting])?.id, 'what waits for its turn comes after what goes on').toBe(1);
    expect(foremost([rollout(2, NEW, []), waiting])?.id).toBe(3);
    expect(foremost([])).toBeNull();
  });
});

describe('the form of a roll-out', () => {
  it('asks for what is written, and leaves the rest to the gateway', () => {
    expect(bodyOf({ ...emptyForm(), firmware: 'ab' })).toEqual({ firmware: 'ab', scheme: 'auto' });
    const full = { ...emptyForm(), firmware: 'ab', nodes: [1], role: ' lamp ', hold: true, airtime: '20', part_size: 'many' };
    expect(bodyOf(full)).toEqual({ firmware: 'ab', scheme: 'auto', nodes: [1], role: 'lamp', hold: true, airtime: 20, part_size: 'many' });
  });

  it('says what is missing', () => {
    expect(missing(emptyForm(), null)).toBe('Choose an image');
    expect(missing({ ...emptyForm(), nodes: [] }, NEW)).toMatch(/at least one/);
    expect(missing(emptyForm(), { ...NEW, manifest: null } as Firmware)).toMatch(/no manifest/);
    expect(missing({ ...emptyForm(), role: 'x' }, { ...NEW, manifest: null } as Firmware)).toBeNull();
  });

  it('reads ids, and names what is none', () => {
    expect(idsOf('7, 3;3\n4294967295')).toEqual({ ids: [3, 7, 4294967295], wrong: [] });
    expect(idsOf('7 x 4294967296 0')).toEqual({ ids: [7], wrong: ['x', '4294967296', '0'] });
  });

  it('sums a forecast', () => {
    const groups = [{ nodes: [1, 2], scheme: 'delta' }, { nodes: [3], scheme: null }, { nodes: [4], scheme: 'turbo' }];
    expect(sums({ groups } as unknown as Forecast)).toEqual({ sent: 3, left: 1 });
  });
});

describe('an upload', () => {
  it('is not even tried with what cannot be right', () => {
    expect(unfit({ name: 'a.bin', size: 0 }, 10)).toBe('a.bin is empty');
    expect(unfit({ name: 'a.bin', size: 11_000 }, 10_240)).toMatch(/longer than the 10 KB/);
    expect(unfit({ name: 'a.bin', size: 10 }, 10)).toBeNull();
  });

  it('fails in the words of the problem', () => {
    const problem = { title: 'Bad Request', status: 400, errors: [{ detail: 'too long', pointer: '/x' }] };
    expect(refusal(400, problem).message).toBe('too long');
    expect(refusal(400, problem).at('/x')).toBe('too long');
    expect(refusal(502, null).message).toBe('the gateway answered 502');
  });

  it('tells how far it is, and brings the token of the session', async () => {
    const sent: Record<string, string> = {};
    class Request {
      status = 201;
      responseText = '{"sha256":"ab"}';
      upload: { onprogress?: (event: object) => void } = {};
      onload?: () => void;
      open(method: string, url: string) {
        sent.to = `${method} ${url}`;
      }
      setRequestHeader(name: string, value: string) {
        sent[name] = value;
      }
      send() {
        this.upload.onprogress?.({ lengthComputable: true, loaded: 1, total: 4 });
        this.onload?.();
      }
    }
    vi.stubGlobal('XMLHttpRequest', Request);
    setCsrf('secret');
    const shares: number[] = [];
    const answer = await upload('POST', '/api/v1/firmware?name=x', new Blob(['abcd']), (share) => shares.push(share));
    expect(answer).toEqual({ sha256: 'ab' });
    expect(shares).toEqual([0.25]);
    expect(sent).toMatchObject({ to: 'POST /api/v1/firmware?name=x', 'x-csrf-token': 'secret', 'content-type': 'application/octet-stream' });
    setCsrf(null);
  });

  afterEach(() => vi.unstubAllGlobals());
});

describe('the dialog', () => {
  afterEach(() => vi.unstubAllGlobals());

  function answers(status: number, body: object) {
    const calls: { url: string; body: unknown }[] = [];
    vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
      calls.push({ url, body: JSON.parse(String(init.body)) });
      const type = status < 300 ? 'application/json' : 'application/problem+json';
      return new Response(JSON.stringify(body), { status, headers: { 'content-type': type } });
    });
    return calls;
  }

  it('names the nodes before it starts, and starts only then', async () => {
    const calls = answers(201, { id: 9 });
    const started: number[] = [];
    render(Deploy, { open: true, images: [OLD, NEW], firmware: null, nodes: [3, 4], onstarted: (id: number) => started.push(id) });
    await fireEvent.click(screen.getByTestId('deploy-next'));
    expect(screen.getByTestId('deploy-question').textContent).toMatch(/1\.1\s+goes to\s+up to 2 nodes/);
    expect(calls).toEqual([]);
    await fireEvent.click(screen.getByTestId('deploy-confirm'));
    await vi.waitFor(() => expect(started).toEqual([9]));
    expect(calls).toEqual([{ url: '/api/v1/rollouts', body: { firmware: NEW.sha256, scheme: 'auto', nodes: [3, 4] } }]);
  });

  it('puts what the gateway refuses to its field', async () => {
    answers(422, { title: 'Unprocessable', status: 422, errors: [{ pointer: '/airtime', detail: 'airtime 900 is out of range: take 1 to 100' }] });
    render(Deploy, { open: true, images: [NEW], firmware: null, nodes: null, onstarted: () => {} });
    await fireEvent.click(screen.getByTestId('deploy-forecast'));
    await vi.waitFor(() => expect(screen.getByTestId('deploy-refused').textContent).toContain('/airtime'));
    expect(document.querySelector('[name=airtime]')?.getAttribute('aria-invalid')).toBe('true');
  });
});
