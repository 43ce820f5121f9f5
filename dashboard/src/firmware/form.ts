// The form of a roll-out, and what it asks of the gateway. Pure.
//
// It refuses little: the gateway knows better, and says with a JSON pointer which field is wrong.

import type { Firmware } from '../lib/types';
import type { Forecast, NewRollout } from './types';

export const SCHEMES = ['auto', 'full', 'heatshrink', 'lzma', 'delta', 'turbo', 'unicast'] as const;
export type Scheme = (typeof SCHEMES)[number];

export const SCHEME_WORDS: Record<Scheme, string> = {
  auto: 'what takes least channel time',
  full: 'the image as it is',
  heatshrink: 'packed by heatshrink (little memory)',
  lzma: 'packed by LZMA',
  delta: 'a patch of what they run',
  turbo: 'stock nodes alone, each part once for all',
  unicast: 'stock nodes alone, each by itself',
};

/** As fields of a form are: text. What is empty is left to the gateway. */
export interface Form {
  firmware: string;
  /** `null` is every node in the mesh. */
  nodes: number[] | null;
  scheme: Scheme;
  role: string;
  hardware: string;
  hold: boolean;
  airtime: string;
  concurrency: string;
  part_size: string;
  slot_size: string;
  force_image: boolean;
  confirm_receiver: boolean;
}

export function emptyForm(): Form {
  return {
    firmware: '', nodes: null, scheme: 'auto', role: '', hardware: '', hold: false, airtime: '', concurrency: '',
    part_size: '', slot_size: '', force_image: false, confirm_receiver: false,
  };
}

const NUMBERS = ['airtime', 'concurrency', 'part_size', 'slot_size'] as const;

/** The body of a request. Texts that are no numbers go as they are, so that the gateway names them. */
export function bodyOf(form: Form): NewRollout {
  const body: Record<string, unknown> = { firmware: form.firmware, scheme: form.scheme };
  if (form.nodes) body.nodes = form.nodes;
  for (const name of ['role', 'hardware'] as const) if (form[name].trim()) body[name] = form[name].trim();
  for (const name of ['hold', 'force_image', 'confirm_receiver'] as const) if (form[name]) body[name] = true;
  for (const name of NUMBERS) {
    const text = String(form[name] ?? '').trim();
    if (text) body[name] = /^-?\d+$/.test(text) ? Number(text) : text;
  }
  return body as unknown as NewRollout;
}

/** What is missing before anything can be asked; `null` when nothing is. */
export function missing(form: Form, image: Firmware | null): string | null {
  if (!image) return 'Choose an image';
  if (form.nodes !== null && form.nodes.length === 0) return 'Choose at least one node';
  if (!image.manifest && !form.role.trim()) return 'This image has no manifest: say for which role it is';
  return null;
}

export interface Sums {
  /** Who would be sent something, and who not. */
  sent: number;
  left: number;
}

/** A forecast in sums. */
export function sums(forecast: Forecast): Sums {
  const total: Sums = { sent: 0, left: 0 };
  for (const group of forecast.groups) {
    if (group.scheme === null || group.scheme === undefined) total.left += group.nodes.length;
    else total.sent += group.nodes.length;
  }
  return total;
}

/** Ids out of a text: decimal numbers of 32 bits with anything between them, each once; the rest is named. */
export function idsOf(text: string): { ids: number[]; wrong: string[] } {
  const words = text.split(/[\s,;]+/).filter(Boolean);
  const good = words.filter((word) => /^\d{1,10}$/.test(word) && Number(word) > 0 && Number(word) <= 0xffff_ffff);
  return { ids: [...new Set(good.map(Number))].sort((a, b) => a - b), wrong: words.filter((word) => !good.includes(word)) };
}
