// The REST interface: one function, typed by its description, with problems as errors.
//
// It refuses to guess: an answer that is no JSON where JSON was promised is an error. Pages drive it; what is live
// comes by `live`, so no page asks in a loop.

import { clock } from './clock.svelte';
import type { paths } from './generated/api';
import type { Problem } from './types';

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type PathsWith<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths] &
  string;
type Operation<P extends keyof paths, M extends Method> = M extends keyof paths[P] ? NonNullable<paths[P][M]> : never;
type Content<R> = R extends { content: infer C } ? C[keyof C] : undefined;
type Good<R> = { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Content<R[S]> : never }[keyof R];
type Answer<O> = O extends { responses: infer R } ? Good<R> : never;
type Named<O> = O extends { parameters: infer A } ? A : Record<string, never>;
type Part<A, K extends string> = K extends keyof A ? NonNullable<A[K]> : never;

/** What goes with a request: parameters of its path and query, and its body. */
export interface Sent<O> {
  path?: Part<Named<O>, 'path'>;
  query?: Part<Named<O>, 'query'>;
  /** JSON, or bytes as they are. */
  body?: unknown;
  /** The kind of answer, where there is more than one. */
  accept?: string;
  signal?: AbortSignal;
}

/** What the gateway refused (RFC 9457), or that it could not be reached: then `status` is 0. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
    message: string,
    /** Seconds to wait, where the gateway says so. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** What is wrong with one field of the body, by its JSON pointer. */
  at(pointer: string): string | null {
    return this.problem?.errors?.find((part) => part.pointer === pointer)?.detail ?? null;
  }

  /** What is wrong with one field or with something in it. */
  within(pointer: string): string | null {
    return this.at(pointer) ?? this.problem?.errors?.find((part) => part.pointer?.startsWith(`${pointer}/`))?.detail ?? null;
  }
}

/** What is told of a 401: the session is over, or there is none. */
type Unauthorized = () => void;

let csrf: string | null = null;
let unauthorized: Unauthorized = () => {};

/** The session's token, which every request that changes something brings. */
export function setCsrf(token: string | null): void {
  csrf = token;
}

/** Whom to tell that nobody is logged in any more. */
export function onUnauthorized(tell: Unauthorized): void {
  unauthorized = tell;
}

/** The headers that every request brings; `X-CSRF-Token` where something is changed. */
export function headersFor(method: string): Record<string, string> {
  const changes = !['get', 'head'].includes(method.toLowerCase());
  return changes && csrf ? { 'x-csrf-token': csrf } : {};
}

/** Fills the braces of a path and appends the query. What is null or undefined is left out. */
export function address(path: string, params: Record<string, unknown> = {}, query: Record<string, unknown> = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(params[name] ?? '')));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) search.set(name, Array.isArray(value) ? value.join(',') : String(value));
  }
  const text = search.toString();
  return text ? `${filled}?${text}` : filled;
}

async function refusal(response: Response): Promise<ApiError> {
  const wait = Number(response.headers.get('retry-after') ?? Number.NaN);
  let problem: Problem | null = null;
  if (response.headers.get('content-type')?.includes('json')) {
    problem = (await response.json().catch(() => null)) as Problem | null;
  }
  const parts = problem?.errors?.map((part) => part.detail).filter(Boolean) ?? [];
  const words = problem?.detail ?? parts[0] ?? problem?.title ?? `the gateway answered ${response.status}`;
  return new ApiError(response.status, problem, words, Number.isFinite(wait) ? wait : null);
}

function packed(body: unknown): { body?: BodyInit; headers: Record<string, string> } {
  if (body === undefined) return { headers: {} };
  if (body instanceof Blob || body instanceof ArrayBuffer || body instanceof Uint8Array) {
    return { body: body as BodyInit, headers: { 'content-type': 'application/octet-stream' } };
  }
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
}

/** One request. Throws `ApiError`; an abort is thrown as it is. */
export async function call<M extends Method, P extends PathsWith<M>>(
  method: M,
  path: P,
  sent: Sent<Operation<P, M>> = {},
): Promise<Answer<Operation<P, M>>> {
  const { body, headers } = packed(sent.body);
  const url = address(path, sent.path as Record<string, unknown>, sent.query as Record<string, unknown>);
  let response: Response;
  try {
    response = await fetch(url, {
      method: method.toUpperCase(),
      headers: { accept: sent.accept ?? 'application/json', ...headers, ...headersFor(method) },
      credentials: 'same-origin',
      body,
      signal: sent.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, null, 'the gateway cannot be reached');
  }
  clock.learn(response.headers.get('date'));
  if (!response.ok) {
    if (response.status === 401 && path !== '/api/v1/login') unauthorized();
    throw await refusal(response);
  }
  if (response.status === 204) return undefined as Answer<Operation<P, M>>;
  if (!response.headers.get('content-type')?.includes('json')) {
    return (await response.text()) as Answer<Operation<P, M>>;
  }
  return (await response.json()) as Answer<Operation<P, M>>;
}

export const api = {
  get: <P extends PathsWith<'get'>>(path: P, sent?: Sent<Operation<P, 'get'>>) => call('get', path, sent),
  post: <P extends PathsWith<'post'>>(path: P, sent?: Sent<Operation<P, 'post'>>) => call('post', path, sent),
  put: <P extends PathsWith<'put'>>(path: P, sent?: Sent<Operation<P, 'put'>>) => call('put', path, sent),
  patch: <P extends PathsWith<'patch'>>(path: P, sent?: Sent<Operation<P, 'patch'>>) => call('patch', path, sent),
  delete: <P extends PathsWith<'delete'>>(path: P, sent?: Sent<Operation<P, 'delete'>>) => call('delete', path, sent),
};

/** An error in words for people. */
export function words(error: unknown): string {
  if (error instanceof ApiError) {
    return error.retryAfter ? `${error.message} (again in ${Math.ceil(error.retryAfter)} s)` : error.message;
  }
  return error instanceof Error ? error.message : String(error);
}
