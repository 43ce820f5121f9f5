// Which page is shown: the address alone says it, so that every view can be bookmarked and sent to somebody.

/** The pages, by the name of their component. */
export type PageName =
  | 'overview'
  | 'topology'
  | 'nodes'
  | 'node'
  | 'firmware'
  | 'rollout'
  | 'alerts'
  | 'events'
  | 'audit'
  | 'login'
  | 'setup'
  | 'account'
  | 'unknown';

/** A page with what its path says. */
export interface Route {
  page: PageName;
  /** Of `/nodes/{id}` and `/rollouts/{id}`. */
  id: number | null;
}

const PAGES: Record<string, PageName> = {
  '/': 'overview',
  '/topology': 'topology',
  '/nodes': 'nodes',
  '/firmware': 'firmware',
  '/alerts': 'alerts',
  '/events': 'events',
  '/audit': 'audit',
  '/login': 'login',
  '/setup': 'setup',
  '/account': 'account',
};

/** The largest node id. */
const ID_MAX = 0xffff_ffff;

/** What a path shows. */
export function route(path: string): Route {
  const clean = path.length > 1 ? path.replace(/\/+$/, '') || '/' : path;
  const page = PAGES[clean];
  if (page) return { page, id: null };
  const [, of, id] = /^\/(nodes|rollouts)\/(\d{1,10})$/.exec(clean) ?? [];
  if (id !== undefined && Number(id) <= ID_MAX) return { page: of === 'nodes' ? 'node' : 'rollout', id: Number(id) };
  return { page: 'unknown', id: null };
}

class Router {
  path = $state(typeof location === 'undefined' ? '/' : location.pathname);
  search = $state(typeof location === 'undefined' ? '' : location.search);
  route = $derived(route(this.path));
  query = $derived(new URLSearchParams(this.search));

  /** Follows the browser's own buttons, and links of this page. */
  start(): () => void {
    const back = () => this.#read();
    const click = (event: MouseEvent) => this.#click(event);
    window.addEventListener('popstate', back);
    document.addEventListener('click', click);
    return () => {
      window.removeEventListener('popstate', back);
      document.removeEventListener('click', click);
    };
  }

  /** Shows another page. */
  go(to: string, replace = false): void {
    if (replace) history.replaceState(null, '', to);
    else history.pushState(null, '', to);
    this.#read();
  }

  /** Changes parts of the query; null takes one away. The page stays, and so does the way back. */
  set(changes: Record<string, string | null>): void {
    const query = new URLSearchParams(this.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === '') query.delete(name);
      else query.set(name, value);
    }
    const text = query.toString();
    this.go(text ? `${this.path}?${text}` : this.path, true);
  }

  #read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }

  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const anchor = (event.target as Element | null)?.closest?.('a[href]');
    if (!(anchor instanceof HTMLAnchorElement) || anchor.target || anchor.hasAttribute('download')) return;
    const url = new URL(anchor.href);
    // What the gateway itself serves is no page of ours.
    if (url.origin !== location.origin || url.pathname.startsWith('/api/') || route(url.pathname).page === 'unknown') return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    if (url.href !== location.href) this.go(url.pathname + url.search);
  }
}

export const router = new Router();
