// Channels: what is asked of the gateway, by whom, and what is shown of them.

import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { who } from '../lib/session.svelte';
import { toasts } from '../lib/toasts.svelte';
import type { Role, Session } from '../lib/types';
import { type Channel, channelBody, channelLack, channelState } from './channels';
import Channels from './Channels.svelte';

const EVIL = '<img src=x onerror=alert(1)>';

function channel(more: Partial<Channel> = {}): Channel {
  return { id: 'phone', kind: 'ntfy', enabled: true, target: 'https://ntfy.example', secrets: ['token'], version: 1, circuit: 'closed', waiting: 0, delivered: 3, dropped: 0, ...more };
}

describe('a channel', () => {
  it('is asked for with what its kind needs, and nothing of another kind', () => {
    const texts = { url: ' https://ntfy.example/t ', server: 'mail', to: 'a@b.example, c@d.example', port: '25', from: 'x@y.example' };
    expect(channelBody(' phone ', 'ntfy', texts)).toEqual({ id: 'phone', kind: 'ntfy', settings: { url: 'https://ntfy.example/t' } });
    expect(channelBody('mail', 'email', texts).settings).toEqual({ server: 'mail', port: 25, from: 'x@y.example', to: ['a@b.example', 'c@d.example'] });
    expect(channelBody('broker', 'mqtt', {})).toEqual({ id: 'broker', kind: 'mqtt' });
  });

  it('says what it still needs', () => {
    expect(channelLack('No!', 'mqtt', {})).toMatch(/^A name/);
    expect(channelLack('a', 'telegram', { token: 'x' })).toBe('It needs: Chat');
    expect(channelLack('a', 'mqtt', {})).toBeNull();
  });

  const states: [Partial<Channel>, string][] = [
    [{}, 'works'], [{ enabled: false, circuit: 'open' }, 'switched off'], [{ circuit: 'open' }, 'left alone after failures'], [{ circuit: 'half_open' }, 'is tried again'], [{ waiting: 2 }, '2 messages waiting'],
  ];
  it.each(states)('that is %o is said to be so', (more, words) => expect(channelState(channel(more)).words).toBe(words));
});

describe('the list of channels', () => {
  let asked: string[] = [];
  let answers: Record<string, [number, object]> = {};

  beforeEach(() => {
    asked = [];
    toasts.list = [];
    answers = { 'GET /api/v1/notification-channels': [200, { items: [channel({ failure: EVIL, failed_at: '2026-03-01T12:00:00Z', waiting: 2 })] }] };
    vi.stubGlobal('fetch', async (url: string, init: RequestInit = {}) => {
      const line = `${init.method ?? 'GET'} ${url.split('?')[0]}`;
      if (line !== 'GET /api/v1/notification-channels') asked.push(`${line} ${init.body ?? ''}`.trim());
      const [status, body] = answers[line] ?? [200, {}];
      if (status === 204) return new Response(null, { status });
      return new Response(JSON.stringify(body), { status, headers: { 'content-type': status < 300 ? 'application/json' : 'application/problem+json' } });
    });
    as('admin');
  });

  afterEach(() => {
    cleanup();
    vi.unstubAllGlobals();
  });

  const as = (role: Role) => (who.session = { name: 'anna', role, means: 'session' } as Session);
  const settled = () => new Promise((done) => setTimeout(done, 30));

  it('tests one and says what came of it, with all words as text', async () => {
    answers['POST /api/v1/notification-channels/phone/test'] = [200, { delivered: false, detail: EVIL, seconds: 0.5 }];
    render(Channels);
    await settled();
    expect(screen.getByTestId('channels').textContent).toContain(EVIL);
    await fireEvent.click(screen.getByTestId('channel-test'));
    await settled();
    expect(asked).toEqual(['POST /api/v1/notification-channels/phone/test']);
    expect(toasts.list.map((toast) => [toast.kind, toast.text])).toEqual([['trouble', `Not delivered by phone: ${EVIL} (500 ms)`]]);
    expect(document.querySelector('img')).toBeNull();
  });

  it('sends a dead letter again', async () => {
    answers['GET /api/v1/notification-channels/phone/deliveries'] = [200, { items: [{ id: 9, state: 'dead', attempts: 8, detail: 'gone', title: 'pump is lost', notice: 'news', severity: 'critical' }] }];
    answers['POST /api/v1/notification-channels/phone/deliveries/9/retry'] = [202, {}];
    render(Channels);
    await settled();
    await fireEvent.click(screen.getByTestId('channel-dead'));
    await settled();
    await fireEvent.click(screen.getByTestId('letter-again'));
    await settled();
    expect(asked.at(-1)).toBe('POST /api/v1/notification-channels/phone/deliveries/9/retry');
    expect(screen.getByTestId('channels').textContent).toContain('It has no dead letters');
  });

  it('is switched off, and removed only after a question that counts what waits', async () => {
    answers['DELETE /api/v1/notification-channels/phone'] = [204, {}];
    render(Channels);
    await settled();
    await fireEvent.click(screen.getByTestId('channel-switch'));
    await settled();
    await fireEvent.click(screen.getByTestId('channel-remove'));
    expect(document.body.textContent).toContain('with 2 messages that wait');
    await fireEvent.click(screen.getByTestId('channel-remove-sure'));
    await settled();
    expect(asked).toEqual(['PATCH /api/v1/notification-channels/phone {"enabled":false}', 'DELETE /api/v1/notification-channels/phone']);
  });

  it('adds one, with what is refused at its field', async () => {
    answers['POST /api/v1/notification-channels'] = [422, { title: 'no', status: 422, errors: [{ pointer: '/settings/url', detail: 'no address: https://… would be' }] }];
    render(Channels);
    await settled();
    await fireEvent.click(screen.getByTestId('channel-add'));
    expect((screen.getByTestId('channel-save') as HTMLButtonElement).disabled).toBe(true);
    await fireEvent.input(document.querySelector('[name=id]')!, { target: { value: 'ops' } });
    await fireEvent.input(document.querySelector('[name=url]')!, { target: { value: 'x' } });
    await fireEvent.click(screen.getByTestId('channel-save'));
    await settled();
    expect(asked).toEqual(['POST /api/v1/notification-channels {"id":"ops","kind":"ntfy","settings":{"url":"x"}}']);
    expect(document.querySelector('[name=url]')?.getAttribute('aria-invalid')).toBe('true');
    expect(document.querySelector('[name=token]')?.getAttribute('type')).toBe('password');
  });

  it.each([['viewer', ['channel-test', 'channel-add', 'channel-switch', 'channel-remove']], ['operator', ['channel-add', 'channel-switch', 'channel-remove']]] as const)('lets a %s look', async (role, not) => {
    as(role);
    render(Channels);
    await settled();
    expect(screen.getByTestId('channels')).toBeTruthy();
    for (const id of not) expect(screen.queryByTestId(id)).toBeNull();
  });
});
