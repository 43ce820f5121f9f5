// Who is logged in, and what they may do. The gateway decides; this only hides what it would refuse anyway.

import { ApiError, api, onUnauthorized, setCsrf, words } from './api';
import { live } from './live.svelte';
import { router } from './router.svelte';
import type { Role, Session } from './types';

const ROLES: Role[] = ['viewer', 'operator', 'admin'];

class Who {
  session = $state.raw<Session | null>(null);
  /** Before the gateway has said whether anybody is logged in. */
  asking = $state(true);
  /** Why it could not be asked. */
  trouble = $state<string | null>(null);

  /** Whether somebody of at least this role is logged in. */
  may(least: Role): boolean {
    return this.session !== null && ROLES.indexOf(this.session.role) >= ROLES.indexOf(least);
  }

  /** Asks who it is that the browser's cookie belongs to. */
  async ask(): Promise<void> {
    this.asking = true;
    this.trouble = null;
    try {
      this.begin(await api.get('/api/v1/session'));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 401)) this.trouble = words(error);
    } finally {
      this.asking = false;
    }
  }

  /** Somebody has logged in. */
  begin(session: Session): void {
    this.session = session;
    this.trouble = null;
    setCsrf(session.csrf_token ?? null);
    live.start();
  }

  /** Nobody is logged in any more. */
  end(): void {
    this.session = null;
    setCsrf(null);
    live.stop(true);
  }

  async logout(): Promise<void> {
    await api.post('/api/v1/logout');
    this.end();
    router.go('/login');
  }
}

export const who = new Who();

onUnauthorized(() => {
  const was = who.session !== null;
  who.end();
  const page = router.route.page;
  if (page === 'login' || page === 'setup') return;
  // Afterwards they come back to where they were.
  const next = router.path + router.search;
  router.go(next === '/' ? '/login' : `/login?next=${encodeURIComponent(next)}${was ? '&over=1' : ''}`, true);
});
