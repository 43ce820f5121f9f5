// The keys of the whole dashboard. They do nothing while somebody writes, and nothing with Ctrl, Alt or Meta.

/** A key, or two one after the other, and what it does. */
export interface Key {
  keys: string;
  what: string;
}

export const KEYS: Key[] = [
  { keys: 'g o', what: 'Overview' },
  { keys: 'g t', what: 'Topology' },
  { keys: 'g n', what: 'Nodes' },
  { keys: 'g f', what: 'Firmware' },
  { keys: 'g a', what: 'Alerts' },
  { keys: 'g e', what: 'Events' },
  { keys: '/', what: 'Find a node' },
  { keys: '?', what: 'This list' },
  { keys: 'Esc', what: 'Close what is open' },
];

const PAGES: Record<string, string> = { o: '/', t: '/topology', n: '/nodes', f: '/firmware', a: '/alerts', e: '/events' };
/** How long after `g` the second key may come, in ms. */
const SECOND_MS = 1_500;

/** What a key wants. */
export type Wish = { go: string } | { do: 'help' | 'find' } | null;

/** Reads keys one by one. */
export class Keys {
  #first = 0;

  /** `at` is the event's own time, in ms. */
  press(key: string, at: number): Wish {
    const second = this.#first > 0 && at - this.#first < SECOND_MS;
    this.#first = 0;
    if (second && PAGES[key]) return { go: PAGES[key] };
    if (key === 'g') this.#first = at;
    if (key === '?') return { do: 'help' };
    if (key === '/') return { do: 'find' };
    return null;
  }
}

/** Whether a key belongs to the page: nobody writes, and no other key is held. */
export function isFree(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return false;
  const target = event.target as HTMLElement | null;
  if (!target) return true;
  return !(target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName) || target.closest?.('dialog[open]'));
}
