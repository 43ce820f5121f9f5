// Short words about what came of something that somebody did. `Toasts` shows them, also to screen readers.

/** Toasts that are shown at once; the oldest goes for the newest. */
const TOASTS_MAX = 4;
/** How long one stays, in ms; trouble stays until it is closed. */
const STAYS_MS = 6_000;

export interface Toast {
  id: number;
  kind: 'done' | 'trouble';
  text: string;
}

class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;

  done(text: string): void {
    const toast = this.#add('done', text);
    setTimeout(() => this.close(toast.id), STAYS_MS);
  }

  trouble(text: string): void {
    this.#add('trouble', text);
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  #add(kind: Toast['kind'], text: string): Toast {
    const toast = { id: this.#next, kind, text };
    this.#next += 1;
    this.list = [...this.list, toast].slice(-TOASTS_MAX);
    return toast;
  }
}

export const toasts = new Toasts();
