// Channels by which people are told: what each kind needs, and how one is. Pure.

import type { components } from '../lib/generated/api';
import { count, type Tone } from '../lib/format';

type Schemas = components['schemas'];
export type Channel = Schemas['NotificationChannel'];
export type Delivery = Schemas['Delivery'];
export type ChannelKind = Schemas['ChannelKind'];
type Settings = Schemas['ChannelSettings'];
type Name = Exclude<keyof Settings, 'enabled'>;

export interface ChannelField {
  name: Name;
  label: string;
  hint?: string;
  secret?: boolean;
  needed?: boolean;
}

export const CHANNEL_FIELDS: Record<ChannelKind, readonly ChannelField[]> = {
  webhook: [
    { name: 'url', label: 'Address', needed: true },
    { name: 'secret', label: 'Secret that signs the body', hint: '16 to 256 bytes; empty for no signature', secret: true },
    { name: 'token', label: 'Its token for us', secret: true },
  ],
  ntfy: [
    { name: 'url', label: 'Address, with the topic last', needed: true },
    { name: 'token', label: 'Its token for us', secret: true },
  ],
  telegram: [
    { name: 'token', label: "The bot's token", secret: true, needed: true },
    { name: 'chat', label: 'Chat', hint: 'its number, or @NAME', needed: true },
  ],
  email: [
    { name: 'server', label: 'Mail server', needed: true },
    { name: 'port', label: 'Port', hint: '587, with TLS from the start 465' },
    { name: 'security', label: 'Security', hint: 'starttls, tls or none' },
    { name: 'from', label: 'From', needed: true },
    { name: 'to', label: 'To', hint: 'addresses, with commas between them', needed: true },
    { name: 'user', label: 'User' },
    { name: 'password', label: 'Password', secret: true },
  ],
  mqtt: [{ name: 'topic', label: 'Topic', hint: 'the usual one when empty' }],
};
export const CHANNEL_KINDS = Object.keys(CHANNEL_FIELDS) as ChannelKind[];

/** The body of a new channel: what is empty, or of another kind, is not in it. */
export function channelBody(id: string, kind: ChannelKind, texts: Partial<Record<Name, string>>): Schemas['NewNotificationChannel'] {
  const said = CHANNEL_FIELDS[kind].map(({ name }) => [name, (texts[name] ?? '').trim()] as const).filter(([, text]) => text !== '');
  const settings = Object.fromEntries(said.map(([name, text]) => [name, read(name, text)]));
  return { id: id.trim(), kind, ...(said.length > 0 ? { settings: settings as Settings } : {}) };
}

function read(name: Name, text: string): string | number | string[] {
  if (name === 'to') return text.split(',').map((word) => word.trim()).filter(Boolean);
  // What is no number goes as it is: the gateway names it.
  return name === 'port' && /^\d+$/.test(text) ? Number(text) : text;
}

/** What a new channel still needs; `null` when nothing. */
export function channelLack(id: string, kind: ChannelKind, texts: Partial<Record<Name, string>>): string | null {
  if (!/^[a-z0-9_-]{1,64}$/.test(id.trim())) return 'A name of a to z, 0 to 9, - and _';
  const lack = CHANNEL_FIELDS[kind].find(({ name, needed }) => needed && !(texts[name] ?? '').trim());
  return lack ? `It needs: ${lack.label}` : null;
}

/** How a channel is, in a word. */
export function channelState(channel: Channel): { words: string; tone: Tone } {
  if (!channel.enabled) return { words: 'switched off', tone: 'quiet' };
  if (channel.circuit === 'open') return { words: 'left alone after failures', tone: 'bad' };
  if (channel.circuit === 'half_open') return { words: 'is tried again', tone: 'warn' };
  return channel.waiting > 0 ? { words: `${count(channel.waiting, 'message')} waiting`, tone: 'warn' } : { words: 'works', tone: 'ok' };
}
