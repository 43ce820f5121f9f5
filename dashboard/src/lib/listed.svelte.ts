// A list that is fetched, and fetched again when it may have changed.

import { words } from './api';

export class Listed<T> {
  /** Null until it has come once; while it is fetched again, and if that fails, what came last. */
  items = $state.raw<readonly T[] | null>(null);
  /** Why it did not come the last time. */
  trouble = $state<string | null>(null);
  /** Whether it is the first time. */
  loading = $derived(this.items === null && this.trouble === null);
  readonly #fetch: () => Promise<readonly T[]>;

  constructor(fetch: () => Promise<readonly T[]>) {
    this.#fetch = fetch;
  }

  load = async (): Promise<void> => {
    try {
      this.items = await this.#fetch();
      this.trouble = null;
    } catch (error) {
      this.trouble = words(error);
    }
  };
}
