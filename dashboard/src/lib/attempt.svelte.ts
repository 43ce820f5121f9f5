// What a person asked for: whether it is under way, and what the gateway said when it did not go.

import { ApiError, words } from './api';

export class Attempt {
  busy = $state(false);
  /** The answer, where it points at what is wrong. */
  refused = $state.raw<ApiError | null>(null);
  /** In words. */
  trouble = $state<string | null>(null);

  forget(): void {
    this.refused = null;
    this.trouble = null;
  }

  /** Tries it; whether it went. */
  async make(work: () => Promise<void>): Promise<boolean> {
    this.busy = true;
    this.forget();
    try {
      await work();
      return true;
    } catch (error) {
      this.refused = error instanceof ApiError ? error : null;
      this.trouble = words(error);
      return false;
    } finally {
      this.busy = false;
    }
  }
}
