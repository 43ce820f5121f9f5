import { afterEach, describe, expect, it, vi } from 'vitest';
import { address, api, ApiError, headersFor, onUnauthorized, setCsrf, words } from './api';

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  const type = status >= 400 ? 'application/problem+json' : 'application/json';
  return new Response(status === 204 ? null : JSON.stringify(body), { status, headers: { 'content-type': type, ...headers } });
}

function gateway(response: () => Response | Promise<Response>) {
  const asked = vi.fn(async (_url: string, _init: RequestInit) => response());
  vi.stubGlobal('fetch', asked);
  return asked;
}

afterEach(() => {
  vi.unstubAllGlobals();
  setCsrf(null);
  onUnauthorized(() => {});
});

it('writes addresses that nothing in them can change', () => {
  for (const [path, params, query, expected] of [
    ['/api/v1/nodes/{id}', { id: 7 }, {}, '/api/v1/nodes/7'],
    ['/api/v1/users/{name}', { name: '../x?y' }, {}, '/api/v1/users/..%2Fx%3Fy'],
    ['/a', {}, { q: 'a&b=c', none: null, gone: undefined, zero: 0 }, '/a?q=a%26b%3Dc&zero=0'],
    ['/a', {}, { metrics: ['x', 'y'] }, '/a?metrics=x%2Cy'],
  ] as const) {
    expect(address(path, params, query)).toBe(expected);
  }
});

describe("the session's token", () => {
  it('goes with what changes something, and only then', () => {
    expect(headersFor('POST')).toEqual({});
    setCsrf('secret');
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) expect(headersFor(method)).toEqual({ 'x-csrf-token': 'secret' });
    for (const method of ['GET', 'HEAD']) expect(headersFor(method)).toEqual({});
  });

  it('is in the request', async () => {
    setCsrf('secret');
    const asked = gateway(() => answer(204, null));
    await api.delete('/api/v1/nodes/{id}', { path: { id: 7 } });
    expect(asked.mock.calls[0]?.[0]).toBe('/api/v1/nodes/7');
    expect(asked.mock.calls[0]?.[1].headers).toMatchObject({ 'x-csrf-token': 'secret' });
  });
});

describe('what is refused', () => {
  const problem = { type: 'about:blank', title: 'Unprocessable', status: 422, detail: 'the name is too long', errors: [{ pointer: '/name', detail: 'at most 64 bytes' }] };

  it('is an error with its words, and the fields that are wrong', async () => {
    gateway(() => answer(422, problem));
    const error = (await api.get('/api/v1/status').catch((one: unknown) => one)) as ApiError;
    expect(error).toBeInstanceOf(ApiError);
    expect(words(error)).toBe('the name is too long');
    expect(error.at('/name')).toBe('at most 64 bytes');
    expect(error.at('/tags')).toBeNull();
  });

  it('says when to come again', async () => {
    gateway(() => answer(429, { ...problem, detail: 'too many requests' }, { 'retry-after': '7' }));
    expect(words(await api.get('/api/v1/status').catch((one: unknown) => one))).toBe('too many requests (again in 7 s)');
  });

  it('is told where nobody is logged in, but not of a wrong password', async () => {
    const told = vi.fn();
    onUnauthorized(told);
    gateway(() => answer(401, { ...problem, status: 401 }));
    await api.post('/api/v1/login', { body: {} }).catch(() => {});
    expect(told).not.toHaveBeenCalled();
    await api.get('/api/v1/status').catch(() => {});
    expect(told).toHaveBeenCalledOnce();
  });

  it('may be no answer at all, or no problem document', async () => {
    gateway(() => Promise.reject(new TypeError('failed to fetch')));
    expect(words(await api.get('/api/v1/status').catch((one: unknown) => one))).toBe('the gateway cannot be reached');
    gateway(() => new Response('<h1>Bad Gateway</h1>', { status: 502, headers: { 'content-type': 'text/html' } }));
    expect(words(await api.get('/api/v1/status').catch((one: unknown) => one))).toBe('the gateway answered 502');
  });
});
